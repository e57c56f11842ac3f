//go:build !race

package udp

import (
	"testing"

	"shipworm/teredo/packet"
)

// A batch on its way allocates nothing, in this package or below it.
func TestBatchAllocates(t *testing.T) {
	for name, kinds := range map[string][2]int{"watched": {0, 1}, "busy": {6, 6}} {
		t.Run(name, func(t *testing.T) { allocates(t, open(t, kinds[0]), open(t, kinds[1])) })
	}
}

func allocates(t *testing.T, s, r Socket) {
	out := packet.NewBatch(8, packet.DefaultSize)
	for i := range out {
		out[i].Off, out[i].Len, out[i].Addr = packet.Headroom, 1280, r.LocalAddr()
	}
	in := packet.NewBatch(8, packet.RunSize)
	n := testing.AllocsPerRun(100, func() {
		if _, err := s.WriteBatch(out); err != nil {
			t.Fatal(err)
		}
		for got := 0; got < len(out)*1280; {
			k, err := r.ReadBatch(in)
			if err != nil {
				t.Fatal(err)
			}
			for i := range in[:k] {
				got += in[i].Len
			}
		}
	})
	if n != 0 {
		t.Errorf("%v allocations a batch", n)
	}
}

func TestWriteNowAllocates(t *testing.T) {
	s, r := open(t, 0).(*mmsgSocket), open(t, 0)
	var p packet.Packet
	p.Set(make([]byte, 100), r.LocalAddr())
	if n := testing.AllocsPerRun(100, func() { s.WriteNow(p) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
