package sim

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"time"

	"shipworm/testnet/internal/ip"
)

// Kind is what happened to a packet.
type Kind uint8

// Kinds of events.
const (
	Sent       Kind = iota // made by a host or router
	Forwarded              // by a router, after translation
	Hairpinned             // by a router, back into its LAN, after translation
	Delivered              // handed to its destination
	Dropped                // by a node or a line, for Reason
	Fragmented             // cut to fit a line; the fragments follow
	Held                   // kept by a router until another packet comes, for Reason
	Forged                 // made or changed by an adversary, named by Reason
	Corrupted              // changed by a line; Packet is what will come out
)

// String returns the kind as a word.
func (k Kind) String() string {
	switch k {
	case Sent:
		return "sent"
	case Forwarded:
		return "forwarded"
	case Hairpinned:
		return "hairpinned"
	case Delivered:
		return "delivered"
	case Dropped:
		return "dropped"
	case Fragmented:
		return "fragmented"
	case Held:
		return "held"
	case Forged:
		return "forged"
	case Corrupted:
		return "corrupted"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// An Event is one step in the life of a packet.
type Event struct {
	Time   time.Time
	Node   string // host, router, network, or line with its direction
	Kind   Kind
	Reason string // a plain English fragment; empty for Sent and Delivered
	ID     uint64 // of the packet in the world, as in Transit
	Packet []byte // valid during the call, must not be changed
}

// Summary describes the packet in one line.
func (e Event) Summary() string { return ip.Summary(e.Packet) }

// String returns the event in one line.
func (e Event) String() string {
	s := fmt.Sprintf("%s %-12s %-10s %s", e.Time.Format("15:04:05.000000"), e.Node, e.Kind, e.Summary())
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	return s
}

// SetTrace has f called for every event; nil ends that. A World without a
// trace spends nothing on it.
func (w *World) SetTrace(f func(Event)) { w.trace = f }

func (w *World) note(node string, k Kind, why string, p *buffer) {
	if w.trace != nil {
		w.trace(Event{Time: w.Now(), Node: node, Kind: k, Reason: why, ID: p.id, Packet: p.b})
	}
}

// A Hash sums up a trace: two runs with equal sums had the same packets, bytes
// and all, at the same times with the same fates.
type Hash struct {
	h hash.Hash
	n int
}

// NewHash returns the hash of an empty trace; its Add goes to SetTrace.
func NewHash() *Hash { return &Hash{h: sha256.New()} }

// Add adds an event.
func (h *Hash) Add(e Event) {
	h.n++
	fmt.Fprintf(h.h, "%d %q %d %q %d\n", e.Time.UnixNano(), e.Node, e.Kind, e.Reason, len(e.Packet))
	h.h.Write(e.Packet)
}

// Len returns the number of events added.
func (h *Hash) Len() int { return h.n }

// Sum returns the hash so far, in hex.
func (h *Hash) Sum() string { return hex.EncodeToString(h.h.Sum(nil)) }
