//go:build !race

package udp

import (
	"testing"

	"shipworm/teredo/packet"
)

// Sending a batch allocates nothing, in this package or below it. (Under the race
// detector sync.Pool, which x/net uses, drops things on purpose.)
func TestWriteAllocates(t *testing.T) {
	s, r := open(t, false), open(t, false)
	out := packet.NewBatch(8, packet.DefaultSize)
	for i := range out {
		out[i].Off, out[i].Len, out[i].Addr = packet.Headroom, 1280, r.LocalAddr()
	}
	n := testing.AllocsPerRun(100, func() {
		if _, err := s.WriteBatch(out); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations a batch", n)
	}
}
