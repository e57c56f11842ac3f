package matrix

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// Many packets that differ in their ports alone are one line of the page, a few
// are not, and the one that got through is never among them.
func TestPageFoldsPortSearch(t *testing.T) {
	from, to := netip.MustParseAddr("192.168.1.2"), netip.MustParseAddr("198.51.100.2")
	row := func(port uint16, dropped string) Row {
		src, dst := netip.AddrPortFrom(from, port), netip.AddrPortFrom(to, 49152)
		return Row{What: "bubble", Src: src, Dst: dst, End: time.Millisecond, Dropped: dropped,
			Hops: []Hop{{Node: NodeA, Src: src, Dst: dst}, {Node: NodeNATB, Src: src, Dst: dst}}}
	}
	for _, tt := range []struct{ dropped, lines int }{{3, 4}, {maxAlike, maxAlike + 1}, {maxAlike + 1, 2}, {500, 2}} {
		var rows []Row
		for i := range tt.dropped {
			rows = append(rows, row(uint16(1024+i), "filtered"))
		}
		rows = append(rows, row(60000, ""))
		got := packets(rows, 0)
		if len(got) != tt.lines || got[len(got)-1].Class != "delivered" {
			t.Errorf("%d dropped: %d lines, the last %s; want %d", tt.dropped, len(got), got[len(got)-1].Class, tt.lines)
		}
		if folded := strings.HasSuffix(got[0].Again, ", other ports"); folded != (tt.lines == 2) {
			t.Errorf("%d dropped: first line again: %q", tt.dropped, got[0].Again)
		}
	}
}
