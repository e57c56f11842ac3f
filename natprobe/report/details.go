package report

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

func (p *printer) details(r *Report) {
	if h := r.Hairpin; h.Verdict != NotTested {
		yes := "Hosts in here reach one another by their external endpoints."
		if h.Source == InternalSource {
			yes = "Hosts in here reach one another by their external endpoints, but see the wrong source, against RFC 4787."
		}
		p.verdict("Hairpin", h.Verdict, yes, "Hosts in here do not reach one another by their external endpoints; on one network they have to use their own.")
	}
	p.bound("Idle lifetime", r.Lifetimes.Single, "after one exchange")
	p.bound("Idle lifetime, stream", r.Lifetimes.Stream, "after several exchanges")
	p.verdict("Inbound refresh", r.Lifetimes.InboundRefresh, "Packets from outside keep a mapping alive.", "Only packets from here keep a mapping alive.")
	p.verdict("Fragments out", r.Fragments.Out, "Datagrams in pieces get out.", "Datagrams in pieces do not get out.")
	p.verdict("Fragments in", r.Fragments.In, "Datagrams in pieces get in.", "Datagrams in pieces do not get in.")
	p.verdict("ALG", r.ALG, "Something on the way rewrites addresses inside packets.", "Nothing on the way rewrites addresses inside packets.")
	if r.EarlyInbound == Yes {
		p.line("Early inbound", r.EarlyInbound, "A packet from outside that comes before ours moves the mapping to its sender, as Linux routers do: who opens a path by sending from both sides at once may have to try again.")
	}
	if r.CGNAT == Unknown {
		p.line("Carrier's NAT", r.CGNAT, "There may be a second translator."+reason(r, "cgnat"))
	} else {
		p.verdict("Carrier's NAT", r.CGNAT, "There is a second translator beyond the home: opening ports in the home's router is not enough."+reason(r, "cgnat"), "There is no second translator beyond the home.")
	}
	if len(r.Layers) > 0 {
		var hops []string
		for _, l := range r.Layers {
			hop := "?"
			if l.Addr.IsValid() {
				hop = l.Addr.String() + layerWord(l.Addr)
			}
			hops = append(hops, hop)
		}
		p.line("Routers on the way", "", strings.Join(hops, ", "))
	}
	if r.MTU > 0 {
		p.line("MTU", fmt.Sprintf("%d bytes", r.MTU), mtuSentence(r.MTU))
	}
}

func layerWord(a netip.Addr) string {
	switch {
	case a.IsPrivate():
		return " (private)"
	case shared.Contains(a):
		return " (carrier)"
	}
	return ""
}

// mtuTeredo is what Teredo needs: 1280 bytes of IPv6 with UDP and IPv4 headers
// (RFC 4380, 5.1.2).
const mtuTeredo = 1280 + 8 + 20

// refresh is how often Teredo clients refresh their mapping if nothing tells
// them otherwise (RFC 4380, 5.2.7).
const refresh = Duration(30 * time.Second)

func mtuSentence(mtu int) string {
	if mtu < mtuTeredo {
		return "Too small for the largest packets of Teredo, which will travel in pieces."
	}
	return "Enough for Teredo."
}

func (p *printer) bound(label string, b Bound, after string) {
	late := ""
	if b.Dead > 0 && b.Dead < refresh {
		late = " Teredo's usual refresh after 30 seconds comes too late."
	}
	switch {
	case b.Alive > 0 && b.Dead > 0:
		p.line(label, fmt.Sprintf("%v to %v", b.Alive, b.Dead), "An idle mapping ends between these times "+after+"."+late)
	case b.Alive > 0:
		p.line(label, fmt.Sprintf("more than %v", b.Alive), "An idle mapping was still there at that time "+after+".")
	case b.Dead > 0:
		p.line(label, fmt.Sprintf("less than %v", b.Dead), "An idle mapping was gone at that time "+after+"."+late)
	}
}
