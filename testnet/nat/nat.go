// Package nat is a network address translator as a pure engine: packets go in
// with the time, are rewritten in place, and come out with a verdict that
// names its reason.
//
// The behaviours are those of RFC 4787 for UDP, RFC 5382 for TCP and RFC 5508
// for ICMP, as updated by RFC 7857, and of RFC 6888 for carriers; each is a
// knob of [Config], and docs/nat-conformance.md says where each requirement is
// tested. Checksums are changed incrementally (RFC 1624). Beside the knobs
// stand quirks that real NATs have against the RFCs, so that programs can be
// tried with them.
//
// Left out: IPv6, Basic NAT (addresses without ports), TCP sequence checks,
// ALGs that know a protocol, and ICMP queries other than echo. The time to
// live and the size of packets are the business of the router around the
// engine.
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
	"slices"
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
	Hold                  // a copy is kept, to come out in Verdict.Also of a later packet or never
)

// String returns the action as a word.
func (a Action) String() string {
	switch a {
	case Forward:
		return "forward"
	case Back:
		return "hairpin"
	case Hold:
		return "hold"
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
	// Also are packets that were held until this one came; they go where it
	// goes, after it. They are valid until the next call on the NAT.
	Also [][]byte
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
	last  int64     // time of the latest
	begun bool

	maps        slab[mapping]
	by          [3]index // chains of mappings
	live        int      // entries that MaxMappings bounds
	quarantined int      // entries that MaxQuarantined bounds
	peers       slab[peer]
	byPeer      index
	hosts       map[uint32]*host // internal hosts that have mappings
	forwards    map[forwardKey]forward
	sources     map[forwardKey]uint32 // forwards by internal endpoint
	fragments   fragments
	syns        []pendingSYN

	timers []queue
	nextXP int        // external address for the next host
	cursor uint32     // next port of Sequential
	nextID uint16     // IP identification, for RewriteID
	used   [][]uint64 // port blocks in use, by external address

	reply  []byte
	stats  Stats
	counts [reasons]uint64
}

// New returns a NAT with empty tables, or every problem of the configuration.
func New(c Config) (*NAT, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	n := &NAT{cfg: c.withDefaults()}
	n.setExternal()
	n.forget()
	return n, nil
}

// Reset forgets every mapping and starts the dice and counters for ports anew,
// as a router does that lost power. Forwards stay, being configuration, and
// with Quarantine so do the ports that were in use (RFC 6888, REQ-8).
func (n *NAT) Reset() {
	var kept []mapping
	if n.cfg.Quarantine > 0 {
		n.maps.each(func(_ uint32, m *mapping) {
			if (m.kind == live && m.proto != protoTCP || m.kind == held) && len(kept) < n.cfg.MaxQuarantined {
				kept = append(kept, mapping{proto: m.proto, outer: m.outer, remote: m.remote, kind: held})
			}
		})
	}
	forwards := n.Forwards()
	n.forget()
	for _, f := range forwards {
		_ = n.AddForward(f) // cannot fail in an empty table: it was there before
	}
	for _, m := range kept {
		i := n.insert(m)
		n.quarantined++
		n.start(mappingTimer(i), &n.maps.at(i).timer, quarantined, n.last)
	}
}

// forget empties all tables.
func (n *NAT) forget() {
	n.rng = rand.New(rand.NewPCG(n.cfg.Seed, 0x6e6174))
	n.maps, n.peers = slab[mapping]{}, slab[peer]{}
	n.by, n.byPeer = [3]index{}, index{}
	n.live, n.quarantined = 0, 0
	n.hosts = make(map[uint32]*host)
	n.forwards = make(map[forwardKey]forward)
	n.sources = make(map[forwardKey]uint32)
	n.fragments = fragments{}
	n.syns = nil
	n.cursor, n.nextXP, n.nextID = 0, 0, 0
	n.used = nil
	n.timers = n.timers[:0]
	for _, life := range n.cfg.lives() {
		n.timers = append(n.timers, queue{life: life})
	}
}

// SetExternal replaces the external addresses and forgets every mapping, as
// happens when the provider hands out another address. Forwards move to the
// address that takes the place of theirs; those without one end.
func (n *NAT) SetExternal(addrs ...netip.Addr) error {
	c := n.cfg
	c.External = append([]netip.Addr(nil), addrs...)
	if err := c.Validate(); err != nil {
		return err
	}
	old, forwards := n.cfg.External, n.Forwards()
	n.cfg = c
	n.setExternal()
	n.forget()
	for _, f := range forwards {
		if i := slices.Index(old, f.External.Addr()); i >= 0 && i < len(addrs) {
			f.External = netip.AddrPortFrom(addrs[i], f.External.Port())
			_ = n.AddForward(f)
		}
	}
	return nil
}

func (n *NAT) setExternal() {
	n.external = n.external[:0]
	for _, a := range n.cfg.External {
		v, _ := ipv4.Number(a)
		n.external = append(n.external, v)
	}
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
	// One that goes backwards all the same must not disorder the queues.
	n.last = max(n.last, int64(now.Sub(n.epoch)))
	n.expire(n.last)
	if len(n.fragments.order) > 0 {
		n.expireFragments(n.last)
	}
	return n.last
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
	return Verdict{Action: Drop, Reason: r}
}

func (n *NAT) forward(r Reason) Verdict {
	n.stats.Forwarded++
	n.counts[r]++
	return Verdict{Action: Forward, Reason: r}
}

func (n *NAT) back(r Reason) Verdict {
	n.stats.Hairpinned++
	n.counts[r]++
	return Verdict{Action: Back, Reason: r}
}
