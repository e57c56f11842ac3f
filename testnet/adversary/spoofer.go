package adversary

import (
	"net/netip"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/sim"
)

// A Spoofer sends UDP datagrams with whatever source its caller wishes, from a
// network that lets it (the opposite of RFC 2827). Answers go to those it
// named; a [Victim] there counts them.
type Spoofer struct {
	host *sim.Host
	mouth
}

// Attach makes h the spoofer's host.
func (s *Spoofer) Attach(h *sim.Host) { s.host = h }

// Send sends a datagram in the name of from. Addresses that are not IPv4, or a
// payload over 65507 bytes, send nothing.
func (s *Spoofer) Send(from, to netip.AddrPort, payload []byte) {
	if pkt := s.udp(from, to, payload); pkt != nil {
		s.host.SendForged(pkt)
	}
}

// Stats returns the counters.
func (s *Spoofer) Stats() Stats { return s.stats }

// A Victim counts the packets that reach a host, by source, and answers
// nothing.
type Victim struct {
	// Packets and Bytes count IPv4 packets and their bytes.
	Packets, Bytes uint64
	// From counts packets by the IPv4 address of their source.
	From map[netip.Addr]uint64
}

// Attach takes every packet of h that no bound port takes.
func (v *Victim) Attach(h *sim.Host) {
	v.From = map[netip.Addr]uint64{}
	h.Receive = func(_ time.Time, pkt []byte) {
		v.Packets++
		v.Bytes += uint64(len(pkt))
		v.From[ipv4.Addr(ipv4.Src(pkt))]++
	}
}
