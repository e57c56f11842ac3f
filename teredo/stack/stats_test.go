package stack

import (
	"bytes"
	"io"
	"sync"
	"testing"

	"shipworm/teredo/packet"
)

// TestRetransmits: what was lost on the way is sent again and counted, and
// nothing else is.
func TestRetransmits(t *testing.T) {
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	a, b := newStack(t, Config{}, addrA), newStack(t, Config{}, addrB)
	pump(b, a, packet.RunSize, &wg)
	lost := false
	wg.Go(func() {
		pkts := packet.NewBatch(1, packet.RunSize)
		for {
			n, err := a.ReadBatch(pkts)
			if err != nil {
				return
			}
			if pkts[0].Len > 1000 && !lost {
				lost = true
				continue
			}
			_, _ = b.WriteBatch(pkts[:n])
		}
	})
	c, d := connect(t, a, b)
	defer d.Close()
	if n := a.Retransmits(); n != 0 {
		t.Errorf("%d sent again before anything was lost", n)
	}
	want := bytes.Repeat([]byte("x"), 5000)
	if _, err := c.Write(want); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if got, err := io.ReadAll(d); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if a.Retransmits() == 0 || b.Retransmits() != 0 {
		t.Errorf("%d and %d sent again, want some and none", a.Retransmits(), b.Retransmits())
	}
}
