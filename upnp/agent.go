package upnp

import (
	"context"
	"encoding/hex"
	"errors"
	"net/netip"
	"time"

	"shipworm/upnp/journal"
	"shipworm/upnp/pcp"
)

// agent is one way to one mapping on one gateway. It is used by one goroutine
// at a time.
type agent interface {
	// obtain makes the mapping, or renews it, and suggests an external
	// endpoint. Nothing is asked for before the gate is closed.
	obtain(ctx context.Context, suggest netip.AddrPort, gate <-chan struct{}) (Mapping, error)
	// check sees whether the mapping is still there, by a cheap sign or, in
	// doubt, by the mapping itself. It reports whether it renewed it on the way.
	check(ctx context.Context, doubt bool) (m Mapping, renewed bool, err error)
	// drop removes the mapping, or what may have come of an attempt at one.
	drop(ctx context.Context) error
	// abandon leaves the mapping to its lease and to the journal.
	abandon()
}

// want is what an agent is to get.
type want struct {
	m        *Mapper
	gateway  Gateway
	protocol Protocol
	internal netip.AddrPort // of this host, resolved
	lifetime time.Duration
	nonce    pcp.Nonce // of all mappings that this is wanted for, one after the other
	lasting  bool      // to outlive the process
}

// note is an agent's page in the journal.
type note struct {
	w      *want
	record *journal.Record
}

// write puts down what is about to be asked for, or what was granted.
func (n *note) write(e journal.Entry) error {
	j := n.w.m.journal
	if j == nil {
		return nil
	}
	e.Protocol, e.Gateway, e.Internal = n.w.protocol.String(), n.w.gateway.Addr, n.w.internal
	e.Lasting = n.w.lasting && !e.Asked
	if n.record != nil {
		return n.record.Update(e)
	}
	r, err := j.Create(e)
	n.record = r
	return err
}

// erase forgets the page: the router has forgotten, or never granted.
func (n *note) erase() {
	if n.record == nil {
		return
	}
	if err := n.record.Remove(); err != nil {
		n.w.m.cfg.Logger.Warn("port mapping journal", "err", err)
	}
	n.record = nil
}

// abandon leaves the page to the next start.
func (n *note) abandon() {
	if n.record != nil {
		n.record.Close()
		n.record = nil
	}
}

// portAgent asks by PCP or NAT-PMP.
type portAgent struct {
	want
	note
	mapping Mapping     // zero: none yet
	start   func() bool // allows the first packet of the first question; may be nil
}

func newPortAgent(w want) *portAgent {
	a := &portAgent{want: w}
	a.note.w = &a.want
	return a
}

func (a *portAgent) question(suggest netip.AddrPort, lifetime time.Duration) question {
	return question{protocol: a.protocol, internal: a.internal, external: suggest, lifetime: lifetime, nonce: a.nonce, via: a.mapping.Via}
}

func (a *portAgent) entry(via Via, external uint16, lifetime time.Duration) journal.Entry {
	return journal.Entry{Via: via.String(), External: external, Nonce: hex.EncodeToString(a.nonce[:]), Expires: time.Now().Add(lifetime)}
}

// obtain implements agent. The gate is not its own: it goes first.
func (a *portAgent) obtain(ctx context.Context, suggest netip.AddrPort, _ <-chan struct{}) (Mapping, error) {
	fresh := !a.mapping.IsValid()
	if fresh {
		e := a.entry(ViaPCP, suggest.Port(), a.lifetime)
		e.Asked = true
		if err := a.write(e); err != nil {
			return Mapping{}, err
		}
	}
	ans, err := a.m.ask(ctx, a.gateway, a.question(suggest, a.lifetime), a.start)
	a.start = nil
	switch {
	case errors.Is(err, errSenseless): // whatever it has made, it should not keep
		_ = a.drop(ctx)
		return Mapping{}, err
	case err != nil:
		if fresh && (ctx.Err() == nil || errors.Is(err, errOvertaken)) { // else something may have come of it
			a.erase()
		}
		return Mapping{}, err
	}
	a.mapping = a.granted(ans)
	a.m.observe(a.gateway, ans)
	if err := a.write(a.entry(ans.via, ans.external.Port(), ans.lifetime)); err != nil {
		return Mapping{}, err
	}
	return a.mapping, nil
}

func (a *portAgent) granted(ans answer) Mapping {
	m := Mapping{
		Protocol: a.protocol, Internal: a.internal, External: ans.external,
		Via: ans.via, Gateway: a.gateway.Addr, Lifetime: ans.lifetime,
	}
	m.External, m.DoubleNAT = judged(ans.external, a.gateway)
	return m
}

// judged returns an external endpoint without its address if that is of no use,
// and whether there is another NAT behind it.
func judged(ap netip.AddrPort, g Gateway) (netip.AddrPort, bool) {
	v := judge(ap.Addr(), g.onLink())
	if v == unusable {
		return netip.AddrPortFrom(netip.Addr{}, ap.Port()), false
	}
	return ap, v == inner
}

// check implements agent. The cheap sign is the router's clock; in doubt the
// mapping is asked for again, which is always allowed (RFC 6887, 11.2.1).
func (a *portAgent) check(ctx context.Context, doubt bool) (Mapping, bool, error) {
	if !doubt {
		s, epoch := a.m.showPCP, uint32(0)
		if a.mapping.Via == ViaNATPMP {
			s = a.m.showNATPMP
		}
		now := s(ctx, a.gateway, &epoch)
		if now.Err != nil && !errors.As(now.Err, new(*resultError)) { // a refusal is a sign of life
			return Mapping{}, false, now.Err
		}
		moved := now.External.IsValid() && now.External != a.mapping.External.Addr()
		if !moved && !a.m.observe(a.gateway, answer{via: a.mapping.Via, epoch: epoch}) {
			return a.mapping, false, nil
		}
	}
	m, err := a.obtain(ctx, a.mapping.External, nil)
	return m, true, err
}

// drop implements agent.
func (a *portAgent) drop(ctx context.Context) error {
	_, err := a.m.ask(ctx, a.gateway, a.question(netip.AddrPort{}, 0), nil)
	if err == nil {
		a.erase()
	} else {
		a.abandon()
	}
	a.mapping = Mapping{}
	return err
}
