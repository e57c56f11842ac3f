package stack

import "sync/atomic"

// Drop says why the stack dropped a packet.
type Drop uint8

// Reasons for a drop.
const (
	_                Drop = iota
	DropMalformed         // not one whole IPv6 packet
	DropNotOurs           // destination is not the host's address
	DropProtocol          // neither TCP nor UDP nor ICMPv6
	DropICMP              // an ICMPv6 type that has no business in a tunnel
	DropEcho              // an echo request, with Config.NoEcho
	DropClosedPort        // no socket claims it
	DropQueueFull         // outgoing, nobody read it in time
	DropOldSource         // outgoing, from an address that the host lost
	DropOutboundICMP      // outgoing ICMPv6 other than the echo
	DropNoAddress         // outgoing, written while the host has no address
	DropChecksum          // TCP or UDP with a wrong checksum
	numDrops
)

var dropNames = [numDrops]string{
	"none",
	DropMalformed: "malformed", DropNotOurs: "not_ours", DropProtocol: "protocol",
	DropICMP: "icmp_type", DropEcho: "echo_off", DropClosedPort: "closed_port",
	DropQueueFull: "queue_full", DropOldSource: "old_source",
	DropOutboundICMP: "outbound_icmp", DropNoAddress: "no_address",
	DropChecksum: "checksum",
}

// String returns the reason as a short name, stable for counters and JSON.
func (d Drop) String() string {
	if d >= numDrops {
		d = 0
	}
	return dropNames[d]
}

type counters [numDrops]atomic.Uint64

func (c *counters) add(d Drop) { c[d].Add(1) }

// Drops returns how many packets were dropped so far, by the reason's name;
// reasons that never applied are absent.
func (s *Stack) Drops() map[string]uint64 {
	m := make(map[string]uint64)
	for d := Drop(1); d < numDrops; d++ {
		if n := s.drop[d].Load(); n > 0 {
			m[d.String()] = n
		}
	}
	return m
}

// Retransmits returns how many TCP segments were sent again so far, of all
// connections. A run that is sent again as a whole counts as one.
func (s *Stack) Retransmits() uint64 { return s.s.Stats().TCP.Retransmits.Value() }
