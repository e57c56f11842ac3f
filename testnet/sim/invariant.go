package sim

import (
	"crypto/sha256"
	"time"

	"shipworm/testnet/internal/ipv4"
)

// What NoRepeat remembers at least: so many packets, or those of so long.
const (
	repeatWindow = 1 << 16
	repeatTime   = 10 * time.Minute
)

// NoRepeat returns a watcher, for [World.Watch], that reports a packet put on
// the same line in the same direction for the second time: a loop. The time to
// live and the header checksum, which a loop changes, do not count; the
// identification does, so a retransmission is no repeat. It remembers at least
// the last 65536 packets or those of the last ten minutes, whichever are fewer,
// and leaves out the duplicates that lines make and the
// packets of adversaries.
func NoRepeat(report func(Transit)) func(Transit) {
	type sum = [sha256.Size]byte
	recent, old := map[sum]bool{}, map[sum]bool{}
	var b []byte
	var since time.Time
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
		if len(recent) >= repeatWindow || t.Time.Sub(since) >= repeatTime {
			recent, old, since = map[sum]bool{}, recent, t.Time
		}
		recent[s] = true
	}
}
