package stack

import (
	"bytes"
	"io"
	"sync"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"shipworm/teredo/packet"
)

// wire counts the TCP segments that it carries again: those that do not begin
// beyond all that it has carried.
type wire struct {
	began bool
	next  uint32 // sequence number
	again int
}

// saw looks at a packet.
func (w *wire) saw(p []byte) {
	if p[6] != protoTCP {
		return
	}
	tcp := header.TCP(p[ipv6HeaderLen:])
	length := uint32(len(tcp.Payload()))
	if tcp.Flags().Intersects(header.TCPFlagSyn | header.TCPFlagFin) {
		length++
	}
	switch end := tcp.SequenceNumber() + length; {
	case length == 0:
	case w.began && int32(tcp.SequenceNumber()-w.next) < 0:
		w.again++
	default:
		w.began, w.next = true, end
	}
}

// soon waits for what comes at once unless the machine stands still.
func soon(ok func() bool) bool {
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// TestRetransmits: what was lost on the way is sent again and counted, and
// nothing is counted that was not sent again, as a machine that stands still may
// have either host do.
func TestRetransmits(t *testing.T) {
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	a, b := newStack(t, Config{}, addrA), newStack(t, Config{}, addrB)
	var mu sync.Mutex
	var wires [2]wire
	lost := false
	for i, h := range []*Stack{a, b} {
		to := []*Stack{b, a}[i]
		wg.Go(func() {
			pkts := packet.NewBatch(1, packet.RunSize)
			for {
				n, err := h.ReadBatch(pkts)
				if err != nil {
					return
				}
				mu.Lock()
				for p := range pkts[0].Datagrams() {
					wires[i].saw(p)
				}
				lose := h == a && pkts[0].Len > 1000 && !lost
				lost = lost || lose
				mu.Unlock()
				if !lose {
					_, _ = to.WriteBatch(pkts[:n])
				}
			}
		})
	}
	// check returns what h counts, all of which its wire saw.
	check := func(i int, h *Stack) uint64 {
		t.Helper()
		counted := h.Retransmits()
		if !soon(func() bool {
			mu.Lock()
			defer mu.Unlock()
			return counted == 0 || wires[i].again > 0
		}) {
			t.Errorf("host %d: %d counted, and nothing was sent again", i, counted)
		}
		return counted
	}
	c, d := connect(t, a, b)
	defer d.Close()
	check(0, a)
	want := bytes.Repeat([]byte("x"), 5000)
	if _, err := c.Write(want); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if got, err := io.ReadAll(d); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if check(0, a) == 0 {
		t.Error("what was lost was not sent again, or not counted")
	}
	check(1, b)
}
