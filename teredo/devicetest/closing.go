package devicetest

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"time"

	"shipworm/teredo/packet"
)

// reader reads until it fails, and says how on the channel.
func (h *harness) reader(found func(p *packet.Packet)) <-chan error {
	failed := make(chan error, 1)
	pkts := h.batch(8, packet.RunSize)
	go func() {
		for {
			n, err := h.Device.ReadBatch(pkts)
			if err != nil {
				failed <- err
				return
			}
			for i := range pkts[:n] {
				found(&pkts[i])
			}
		}
	}()
	return failed
}

// ended checks what a goroutine of the device's user met at the end.
func (h *harness) ended(what string, failed <-chan error) {
	h.Helper()
	select {
	case err := <-failed:
		if !errors.Is(err, net.ErrClosed) {
			h.Errorf("%s: %v, want net.ErrClosed", what, err)
		}
	case <-time.After(patience):
		h.Fatalf("%s did not end", what)
	}
}

// close: it unblocks the reader, and nothing goes afterwards.
func (h *harness) close() {
	failed := h.reader(func(*packet.Packet) {})
	time.Sleep(time.Millisecond) // let it block, most of the time
	if err := h.Device.Close(); err != nil {
		h.Errorf("Close: %v", err)
	}
	h.ended("the reader", failed)
	h.gone()
}

// gone checks a closed device.
func (h *harness) gone() {
	h.Helper()
	if n, err := h.Device.ReadBatch(h.batch(2, packet.DefaultSize)); n != 0 || !errors.Is(err, net.ErrClosed) {
		h.Errorf("ReadBatch = %d, %v, want net.ErrClosed", n, err)
	}
	if n, err := h.Device.WriteBatch(single(h.toHost(nil))); n != 0 || !errors.Is(err, net.ErrClosed) {
		h.Errorf("WriteBatch = %d, %v, want net.ErrClosed", n, err)
	}
	if err := h.Device.SetAddr(Addr); !errors.Is(err, net.ErrClosed) {
		h.Errorf("SetAddr: %v, want net.ErrClosed", err)
	}
	if err := h.Device.Close(); err != nil {
		h.Errorf("Close again: %v", err)
	}
}

// closeBusy: it may come while packets move both ways.
func (h *harness) closeBusy() {
	read := h.reader(func(*packet.Packet) {})
	written := h.writer()
	time.Sleep(5 * time.Millisecond)
	if err := h.Device.Close(); err != nil {
		h.Errorf("Close: %v", err)
	}
	h.ended("the reader", read)
	h.ended("the writer", written)
	h.gone()
}

// writer writes until it fails.
func (h *harness) writer() <-chan error {
	failed := make(chan error, 1)
	go func() {
		for {
			if _, err := h.Device.WriteBatch(single(h.toHost(fill(1000, 1)), h.toHost(fill(10, 2)))); err != nil {
				failed <- err
				return
			}
		}
	}()
	return failed
}

// closeTwice: or from many goroutines at once.
func (h *harness) closeTwice() {
	failed := h.reader(func(*packet.Packet) {})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := h.Device.Close(); err != nil {
				h.Errorf("Close: %v", err)
			}
		})
	}
	wg.Wait()
	h.ended("the reader", failed)
	h.gone()
}

// both: while the host sends, it receives.
func (h *harness) both() {
	const count = 500
	got := make(chan []byte, count)
	read := h.reader(func(p *packet.Packet) {
		for b := range p.Datagrams() {
			if _, _, payload, err := parseUDP(b); err == nil {
				got <- bytes.Clone(payload)
			}
		}
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range uint64(count) {
			want := fill(int(i%1233), i)
			if _, err := h.Socket.WriteTo(want, net.UDPAddrFromAddrPort(h.peer)); err != nil {
				h.Errorf("the host sends: %v", err)
				return
			}
			select {
			case b := <-got:
				if !bytes.Equal(b, want) {
					h.Errorf("datagram %d is another", i)
				}
			case <-time.After(patience):
				h.Errorf("datagram %d did not come", i)
				return
			}
		}
	})
	defer wg.Wait()
	for i := range uint64(count) {
		h.write(single(h.toHost(fill(int(i%1233), i))))
		h.expect(fill(int(i%1233), i))
	}
	wg.Wait()
	_ = h.Device.Close()
	h.ended("the reader", read)
}
