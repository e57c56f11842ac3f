package stack

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shipworm/teredo/packet"
)

// TestLateAcks: acknowledgements that come late, but well within the
// retransmission timeout, are no loss: nothing is sent again.
func TestLateAcks(t *testing.T) {
	for range 5 {
		again, timeouts := lateAcks(t)
		if timeouts > 0 {
			continue // the machine stood still
		}
		if again > 0 {
			t.Errorf("%d segments sent again", again)
		}
		return
	}
	t.Error("no try without a timeout")
}

func lateAcks(t *testing.T) (again, timeouts uint64) {
	var wg sync.WaitGroup
	defer wg.Wait()
	var late atomic.Bool
	a, b := newStack(t, Config{}, addrA), newStack(t, Config{}, addrB)
	defer a.Close()
	defer b.Close()
	pump(a, b, packet.RunSize, &wg)
	wg.Go(func() {
		pkts := packet.NewBatch(64, packet.RunSize)
		for {
			n, err := b.ReadBatch(pkts)
			if err != nil {
				return
			}
			if late.Load() {
				time.Sleep(50 * time.Millisecond)
			}
			_, _ = a.WriteBatch(pkts[:n])
		}
	})
	l, err := b.Listen(80)
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.DialContext(ctxT(t), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	buf := make([]byte, 1<<16)
	for i := range 10 {
		late.Store(i == 9)
		if _, err := c.Write(buf[:9000]); err != nil {
			t.Fatal(err)
		}
		for n := 0; n < 9000; {
			k, err := d.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			n += k
		}
	}
	time.Sleep(60 * time.Millisecond)
	return a.Retransmits(), a.s.Stats().TCP.Timeouts.Value()
}
