package sim

import (
	"crypto/sha256"

	"shipworm/testnet/internal/ipv4"
)

// repeatWindow is how many packets NoRepeat remembers at least.
const repeatWindow = 1 << 16

// NoRepeat returns a watcher, for [World.Watch], that reports a packet put on
// the same line in the same direction for the second time: a loop. The time to
// live and the header checksum, which a loop changes, do not count; the
// identification does, so a retransmission is no repeat. It remembers at least
// the last 65536 packets, and leaves out the duplicates that lines make and the
// packets of adversaries.
func NoRepeat(report func(Transit)) func(Transit) {
	type sum = [sha256.Size]byte
	recent, old := map[sum]bool{}, map[sum]bool{}
	var b []byte
	return func(t Transit) {
		if t.Duplicate || t.Forged {
			return
		}
		b = append(append(append(b[:0], t.Line...), 0), t.Packet...)
		if pkt, _, ok := ipv4.Check(t.Packet); ok {
			p := b[len(t.Line)+1:][:len(pkt)]
			p[8], p[10], p[11] = 0, 0, 0
		}
		s := sha256.Sum256(b)
		if recent[s] || old[s] {
			report(t)
		}
		recent[s] = true
		if len(recent) >= repeatWindow {
			recent, old = map[sum]bool{}, recent
		}
	}
}
