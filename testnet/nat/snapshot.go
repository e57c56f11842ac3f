package nat

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"shipworm/testnet/internal/ipv4"
)

// A Mapping is one row of the table, to be shown.
type Mapping struct {
	Protocol byte           // 1 ICMP echo, 6 TCP, 17 UDP
	Internal netip.AddrPort // port = identifier for ICMP
	External netip.AddrPort
	// Remote is the part of the destination that the mapping depends on:
	// port 0 if only the address, invalid if it is endpoint-independent.
	Remote netip.AddrPort
	// Expires is when an idle mapping ends; for TCP, its last connection.
	// Zero for a static mapping.
	Expires time.Time
	Static  bool // a PortForward
	// Peers are the remote endpoints that the filter lets in; port 0 = any
	// port. Empty where the mapping itself decides.
	Peers []netip.AddrPort
}

// String returns the row in one line.
func (m Mapping) String() string {
	s := fmt.Sprintf("%d %v <-> %v", m.Protocol, m.Internal, m.External)
	if m.Remote.IsValid() {
		s += fmt.Sprintf(" to %v", m.Remote)
	}
	return s
}

// Mappings returns the mappings alive at now, ordered by protocol, internal,
// and external endpoint and remote. It may be slow.
func (n *NAT) Mappings(now time.Time) []Mapping {
	n.tick(now)
	rows := make([]Mapping, 0, n.live)
	n.maps.each(func(_ uint32, m *mapping) {
		if m.kind != live && m.kind != static {
			return
		}
		row := Mapping{Protocol: m.proto, Internal: m.inner.addrPort(), External: m.outer.addrPort(), Static: m.kind == static}
		if n.cfg.mapping(m.proto) != EndpointIndependent && !row.Static {
			row.Remote = m.remote.addrPort()
		}
		due := m.timer.due
		for i := m.peers; i != 0; {
			p := n.peers.at(i)
			due = max(due, p.timer.due)
			if n.filtered(m.proto) && p.remote == n.filterScope(m.proto, p.remote) {
				row.Peers = append(row.Peers, p.remote.addrPort())
			}
			i = p.next
		}
		slices.SortFunc(row.Peers, netip.AddrPort.Compare)
		if !row.Static {
			row.Expires = n.epoch.Add(time.Duration(due))
		}
		rows = append(rows, row)
	})
	slices.SortFunc(rows, func(a, b Mapping) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), a.Internal.Compare(b.Internal),
			a.External.Compare(b.External), a.Remote.Compare(b.Remote))
	})
	return rows
}

func (e endpoint) addrPort() netip.AddrPort { return netip.AddrPortFrom(ipv4.Addr(e.addr), e.port) }
