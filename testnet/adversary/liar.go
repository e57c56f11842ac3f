package adversary

import (
	"net/netip"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/sim"
)

// A Lie is the kind of an ICMP error.
type Lie struct {
	Type, Code byte
	Rest       uint32 // second word of the header: the MTU of "fragmentation needed"
}

// Lies returns one of each kind that could hurt: all codes of "unreachable",
// "fragmentation needed" with MTU 68 and 0, both times exceeded, source quench,
// redirect and parameter problem (RFC 792, 1122, 1191, 1812).
func Lies() []Lie {
	var lies []Lie
	for code := range byte(16) {
		lies = append(lies, Lie{Type: ipv4.Unreachable, Code: code})
	}
	return append(lies,
		Lie{ipv4.Unreachable, ipv4.CodeFragNeeded, 68},
		Lie{ipv4.SourceQuench, 0, 0},
		Lie{redirect, 1, 0xc6336442}, // to 198.51.100.66
		Lie{ipv4.TimeExceeded, 0, 0}, Lie{ipv4.TimeExceeded, 1, 0},
		Lie{ipv4.ParameterError, 0, 20 << 24})
}

const redirect = 5 // RFC 792

// An ICMPLiar sends forged ICMP errors to the senders of real packets, quoting
// those: about each packet that passes its line, one of each of Lies.
type ICMPLiar struct {
	Name string // in traces; "" means "icmp liar"
	// From is the router that it pretends to be; zero means the destination of
	// the packet quoted.
	From netip.Addr
	// Lies are the errors; nil means those of the function Lies.
	Lies []Lie
	// Match says which packets to lie about; nil is all.
	Match func(p *sim.Passage) bool

	tap *sim.Tap
	mouth
}

// Attach puts the liar on a line.
func (l *ICMPLiar) Attach(on Line) {
	if l.Lies == nil {
		l.Lies = Lies()
	}
	l.tap = on.Tap(or(l.Name, "icmp liar"), l.passage)
}

func (l *ICMPLiar) passage(p *sim.Passage) {
	l.stats.Seen++
	pkt, _, ok := ipv4.Check(p.Packet)
	if !ok || l.Match != nil && !l.Match(p) {
		return
	}
	l.about(pkt, func(b []byte) { l.tap.Inject(b, !p.Up) })
}

// about makes the errors about a packet.
func (l *ICMPLiar) about(pkt []byte, send func([]byte)) {
	for _, x := range l.Lies {
		from := ipv4.Dst(pkt)
		if v, ok := ipv4.Number(l.From); ok {
			from = v
		}
		l.buf = ipv4.AppendError(l.buf[:0], x.Type, x.Code, x.Rest, from, pkt)
		if len(l.buf) > 0 {
			l.made(l.buf)
			send(l.buf)
		}
	}
}

// LieFrom sends the errors about a packet of which the liar knows or guesses
// the bytes, from a host off its path.
func (l *ICMPLiar) LieFrom(h *sim.Host, pkt []byte) {
	if l.Lies == nil {
		l.Lies = Lies()
	}
	if whole, _, ok := ipv4.Check(pkt); ok {
		l.about(whole, h.SendForged)
	}
}

// Detach takes the liar off the line.
func (l *ICMPLiar) Detach() { l.tap.Remove() }

// Stats returns the counters.
func (l *ICMPLiar) Stats() Stats { return l.stats }
