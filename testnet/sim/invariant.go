package sim

import (
	"hash/maphash"
	"time"

	"shipworm/testnet/internal/ip"
	"shipworm/testnet/internal/ipv4"
)

// What NoRepeat remembers at least: so many packets, or those of so long; twice
// that at most. A loop is faster. It must be forgotten before a kernel, whose 16
// bits of identification go on with packets and with time, comes round to the
// same one: equal packets a minute apart, as of a keep-alive, are no loop.
const (
	repeatWindow = 1 << 14
	repeatTime   = 10 * time.Second
)

// NoRepeat returns a watcher, for [World.Watch], that reports a packet put on
// the same line in the same direction for the second time: a loop. The time to
// live and the header checksum, which a loop changes, do not count; the
// identification does, so a retransmission is no repeat. Packets without one,
// IPv6 and what must not be fragmented (RFC 6864, 4), are told apart by
// [Transit].ID instead, so that a loop through a host is not seen. NoRepeat
// remembers at least the last 16384 packets or those of the last ten seconds,
// whichever are fewer, and leaves out the duplicates that lines make and the
// packets of adversaries.
func NoRepeat(report func(Transit)) func(Transit) { return noRepeat(true, report) }

// NoRepeatOfNumber is NoRepeat with all packets told apart by [Transit].ID. It is
// for hosts that are kernels, which number packets as they like: those that Linux
// makes of one call with UDP_SEGMENT share numbers with those of the next.
func NoRepeatOfNumber(report func(Transit)) func(Transit) { return noRepeat(false, report) }

func noRepeat(identification bool, report func(Transit)) func(Transit) {
	seed := maphash.MakeSeed()
	recent, old := map[uint64]struct{}{}, map[uint64]struct{}{}
	var since time.Time
	var h maphash.Hash
	h.SetSeed(seed)
	return func(t Transit) {
		if t.Duplicate || t.Forged {
			return
		}
		h.Reset()
		h.WriteString(t.Line)
		h.WriteByte(0)
		pkt, _, ok := ipv4.Check(t.Packet)
		switch {
		case ok && identification && !ipv4.DontFragment(pkt):
			h.Write(pkt[:8])
			h.WriteByte(pkt[9])
			h.Write(pkt[12:])
		case ok || ip.Is6(t.Packet):
			var id [8]byte
			be.PutUint64(id[:], t.ID)
			h.Write(id[:])
			if ok {
				h.Write(pkt[6:8]) // which fragment: they share the number
			}
		default:
			h.Write(t.Packet)
		}
		s := h.Sum64()
		if age := t.Time.Sub(since); len(recent) >= repeatWindow || age >= repeatTime {
			if recent, old, since = map[uint64]struct{}{}, recent, t.Time; age >= 2*repeatTime {
				old = nil // all of it is older
			}
		}
		_, before := recent[s]
		if !before {
			_, before = old[s]
		}
		if before {
			report(t)
		}
		recent[s] = struct{}{}
	}
}
