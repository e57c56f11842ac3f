// Package nat is a network address translator as a pure engine: packets go in
// with the time, are rewritten in place, and come out with a verdict that
// names its reason.
//
// The behaviours are those of RFC 4787 for UDP, each a knob of [Config]:
// mapping, filtering, port allocation, pooling, parity, lifetimes and their
// refresh, hairpinning. TCP follows the same mapping rules with the lifetimes
// of RFC 5382 and RFC 7857; ICMP echo is mapped by its identifier and ICMP
// errors about a known flow are translated inside and out (RFC 5508).
// Checksums are changed incrementally (RFC 1624).
//
// Left out: fragments (dropped, with that reason), ALGs (payloads are never
// touched), IPv6, other transports, and TCP sequence checks. The time to live
// is the business of the router around the engine.
//
//	cfg, _ := nat.Profile("port-restricted")
//	cfg.External = []netip.Addr{netip.MustParseAddr("203.0.113.7")}
//	n, err := nat.New(cfg)
//	...
//	v := n.Outbound(now, pkt) // pkt from the inside, rewritten in place
//	if v.Action == nat.Forward {
//		sendOutside(pkt)
//	} else {
//		log.Print("dropped: ", v.Reason)
//	}
package nat

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"shipworm/testnet/internal/ipv4"
)

// Action is what to do with the packet.
type Action uint8

// Actions. Drop is the zero value: a verdict nobody filled in lets nothing
// through.
const (
	Drop    Action = iota // throw it away; it is unchanged
	Forward               // send it on, rewritten, in the direction it was going
	Back                  // Outbound only: rewritten, send it back to the inside (hairpin)
)

// String returns the action as a word.
func (a Action) String() string {
	switch a {
	case Forward:
		return "forward"
	case Back:
		return "hairpin"
	}
	return "drop"
}

// A Verdict says what becomes of a packet, and why.
type Verdict struct {
	Action Action
	Reason Reason
	// Reply is an ICMP error to send back to where the packet came from, or
	// nil. It is valid until the next call on the NAT.
	Reply []byte
}

// Stats counts what happened since New; Count has the verdicts by reason.
type Stats struct {
	Forwarded, Hairpinned, Dropped uint64 // packets
	Created, Expired               uint64 // mappings
	Refused                        uint64 // new flows, for want of room or ports
}

// A NAT translates between an inside and an outside. It is not safe for
// concurrent use. Time is handed in and must not go backwards.
type NAT struct {
	cfg      Config
	external []uint32
	rng      *rand.Rand

	epoch time.Time // time of the first packet; the tables count from it
	begun bool

	out   map[key]*mapping // by internal endpoint and what Mapping adds
	in    map[key]*mapping // by external endpoint and what Overlap adds
	peers map[key]*peer    // by mapping number and remote endpoint
	hosts map[uint32]*host // internal hosts that have mappings

	timers [classes]queue
	nextID uint32
	nextXP int    // external address for the next host
	cursor uint32 // next port of Sequential

	reply  []byte
	stats  Stats
	counts [reasons]uint64
}

// New returns a NAT with empty tables, or every problem of the configuration.
func New(c Config) (*NAT, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	n := &NAT{cfg: c}
	for _, a := range c.External {
		v, _ := ipv4.Number(a)
		n.external = append(n.external, v)
	}
	n.Reset()
	return n, nil
}

// Reset forgets every mapping and starts the dice and counters for ports anew,
// as a router does that lost power.
func (n *NAT) Reset() {
	n.rng = rand.New(rand.NewPCG(n.cfg.Seed, 0x6e6174))
	n.out = make(map[key]*mapping)
	n.in = make(map[key]*mapping)
	n.peers = make(map[key]*peer)
	n.hosts = make(map[uint32]*host)
	n.cursor = 0
	n.nextXP = 0
	n.timers = [classes]queue{}
	for i := range n.timers {
		n.timers[i].life = n.cfg.life(class(i))
	}
}

// SetExternal replaces the external addresses and forgets every mapping, as
// happens when the provider hands out another address.
func (n *NAT) SetExternal(addrs ...netip.Addr) error {
	c := n.cfg
	c.External = append([]netip.Addr(nil), addrs...)
	if err := c.Validate(); err != nil {
		return err
	}
	n.cfg = c
	n.external = n.external[:0]
	for _, a := range addrs {
		v, _ := ipv4.Number(a)
		n.external = append(n.external, v)
	}
	n.Reset()
	return nil
}

// Config returns the configuration in force, defaults filled in.
func (n *NAT) Config() Config { return n.cfg }

// Stats returns the counters.
func (n *NAT) Stats() Stats { return n.stats }

// Count returns how many verdicts since New had this reason.
func (n *NAT) Count(r Reason) uint64 {
	if r < reasons {
		return n.counts[r]
	}
	return 0
}

// tick turns a time into nanoseconds since the first packet and throws out
// what has expired by then.
func (n *NAT) tick(now time.Time) int64 {
	if !n.begun {
		n.epoch, n.begun = now, true
	}
	t := int64(now.Sub(n.epoch))
	n.expire(t)
	return t
}

func (n *NAT) isExternal(a uint32) bool {
	for _, e := range n.external {
		if e == a {
			return true
		}
	}
	return false
}

func (n *NAT) drop(r Reason) Verdict {
	n.stats.Dropped++
	n.counts[r]++
	return Verdict{Drop, r, nil}
}

func (n *NAT) forward(r Reason) Verdict {
	n.stats.Forwarded++
	n.counts[r]++
	return Verdict{Forward, r, nil}
}

func (n *NAT) back(r Reason) Verdict {
	n.stats.Hairpinned++
	n.counts[r]++
	return Verdict{Back, r, nil}
}

// reject drops pkt and, where the configuration says so, answers it.
func (n *NAT) reject(r Reason, pkt []byte) Verdict {
	v := n.drop(r)
	if n.cfg.Reject {
		n.reply = ipv4.AppendError(n.reply[:0], ipv4.Unreachable, ipv4.CodePort, 0, ipv4.Dst(pkt), pkt)
		if len(n.reply) > 0 {
			v.Reply = n.reply
		}
	}
	return v
}
