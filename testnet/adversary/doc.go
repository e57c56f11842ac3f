// Package adversary holds the attackers of a simulated network, as nodes and
// as people on a line of testnet/sim. Each is a small struct whose fields say
// what it does and whose Attach puts it to work; it counts what it did (see
// [Stats]), rolls no dice but seeded ones, and marks all it makes as forged, so
// that invariants (package invariant) judge only the honest.
//
// Off the path, on a host of their own:
//   - [Spoofer] sends packets in other people's names.
//   - [Flooder] sends many of them.
//   - [Dripper] is a slow loris: it opens conversations and never ends them.
//   - [Responder] answers like a rogue server, relay or peer. What it says is
//     the caller's function: the package knows IPv4 and UDP, no protocol above.
//   - [Victim] is nobody's enemy: it counts what comes of all this.
//
// On a line, a host's or a router's ([Line]):
//   - [MITM] reads and rewrites datagrams in both directions.
//   - [Replayer] captures packets and plays them again, there or elsewhere.
//   - [ICMPLiar] sends forged ICMP errors that quote real packets.
//   - [BlackHole] swallows a direction or a destination.
//
// Left out: rogue internet gateway devices (UPnP IGD, NAT-PMP, PCP), which are
// the faulty profiles of package igd; TCP, since the hosts of sim have none.
//
//	eve, _ := w.Host("eve", link.Config{}, netip.MustParseAddr("198.51.100.66"))
//	flood := &adversary.Flooder{
//		Rate: 1000, Time: 10 * time.Second, To: server,
//		From:    adversary.Sources(1, netip.MustParsePrefix("198.18.0.0/15")),
//		Payload: func(i int, from netip.AddrPort) []byte { return solicitation },
//	}
//	flood.Attach(w, eve)
//	w.Advance(w.Now().Add(time.Minute))
//	fmt.Println(flood.Stats().Sent)
package adversary

import (
	"math/rand/v2"
	"net/netip"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/sim"
)

// Stats counts what an adversary did.
type Stats struct {
	Seen      uint64 // packets or datagrams that came by or to it
	Sent      uint64 // packets it made
	Bytes     uint64 // of the IPv4 packets it made
	Changed   uint64 // packets it changed on their way
	Swallowed uint64 // packets it let nobody have
}

// A Line is what can be tapped: a host's line or a router's uplink.
type Line interface {
	Tap(name string, f func(*sim.Passage)) *sim.Tap
}

// Sources returns addresses and ports for forged packets: the i-th is the same
// whenever it is asked for, and looks random. The first and last address of
// the prefix do not occur, nor do ports below 1024. A prefix that is not IPv4,
// or longer than /30, gives the zero AddrPort, which sends nothing.
func Sources(seed uint64, prefix netip.Prefix) func(i int) netip.AddrPort {
	first, ok := ipv4.Number(prefix.Masked().Addr())
	if !ok || prefix.Bits() > 30 {
		return func(int) netip.AddrPort { return netip.AddrPort{} }
	}
	hosts := uint64(1)<<(32-prefix.Bits()) - 2
	return func(i int) netip.AddrPort {
		dice := rand.New(rand.NewPCG(seed, uint64(i)))
		a := first + 1 + uint32(dice.Uint64N(hosts))
		return netip.AddrPortFrom(ipv4.Addr(a), 1024+uint16(dice.IntN(64512)))
	}
}

// mouth makes UDP packets for an adversary.
type mouth struct {
	id    uint16
	buf   []byte
	stats Stats
}

// udp builds a packet, valid until the next call; nil if it cannot be built.
func (m *mouth) udp(from, to netip.AddrPort, payload []byte) []byte {
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	if !from.Addr().Is4() || !to.Addr().Is4() || len(payload) > ipv4.MaxPayload {
		return nil
	}
	m.id++
	m.buf = ipv4.AppendUDP(m.buf[:0], m.id, from, to, payload)
	m.made(m.buf)
	return m.buf
}

func (m *mouth) made(pkt []byte) {
	m.stats.Sent++
	m.stats.Bytes += uint64(len(pkt))
}
