package teredo

import (
	"context"

	"shipworm/teredo/packet"
	"shipworm/teredo/udp"
)

// extraBuffer is the receive buffer of an extra port, in bytes: they are many,
// and most see a bubble or two.
const extraBuffer = 256 << 10

// arrival is what one read of an extra port brought.
type arrival struct {
	port  uint16
	batch batch
	taken chan struct{}
}

// openPorts opens the extra ports that the machine asked for. One that cannot be
// had is a way to a peer less, nothing else.
func (r *running) openPorts(ctx context.Context, ports []uint16) {
	for _, port := range ports {
		if ctx.Err() != nil {
			return // nobody would close it
		}
		s, err := r.c.listenAs(ctx, port, udp.Config{ReadBuffer: extraBuffer})
		if err != nil {
			r.c.log.Debug("open an extra port", "port", port, "err", err)
			continue
		}
		r.extra[port] = s
		r.helpers.Go(func() { r.readPort(ctx, port, s) })
	}
}

// readPort carries what arrives at an extra port to the loop, until the port is
// closed.
func (r *running) readPort(ctx context.Context, port uint16, s udp.Socket) {
	a := &arrival{port: port, batch: batch{pkts: packet.NewBatch(1, packet.DefaultSize)}, taken: make(chan struct{}, 1)}
	for {
		var err error
		if a.batch.n, err = s.ReadBatch(a.batch.pkts); err != nil {
			return
		}
		select {
		case r.arrivals <- a:
		case <-ctx.Done():
			return
		}
		select {
		case <-a.taken:
		case <-ctx.Done():
			return
		}
	}
}

// closePorts closes those that the machine is done with.
func (r *running) closePorts(ports []uint16) {
	for _, port := range ports {
		if s := r.extra[port]; s != nil {
			s.Close()
			delete(r.extra, port)
		}
	}
}

// transmitFrom sends from the ports that the machine named.
func (r *running) transmitFrom(h *half) {
	for ts := h.out.Transmit; len(ts) > 0; {
		n := 1
		for n < len(ts) && ts[n].Port == ts[0].Port {
			n++
		}
		s := r.socket
		if ts[0].Port != 0 {
			s = r.extra[ts[0].Port]
		}
		if s != nil { // else it could not be opened
			r.transmit(s, h, ts[:n])
		}
		ts = ts[n:]
	}
}
