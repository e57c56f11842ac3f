package teredo

import (
	"net/netip"
	"testing"

	"shipworm/teredo/engine"
	"shipworm/teredo/packet"
	"shipworm/teredo/udp"
)

// sink is a socket and a device that take everything.
type sink struct {
	udp.Socket
	Device
	taken int
}

func (s *sink) WriteBatch(pkts []packet.Packet) (int, error) {
	s.taken += len(pkts)
	return len(pkts), nil
}

type (
	sinkSocket struct{ *sink }
	sinkDevice struct{ *sink }
)

func (s sinkSocket) Close() error { return nil }
func (s sinkDevice) Close() error { return nil }

func (s sinkSocket) ReadBatch([]packet.Packet) (int, error) { panic("not read") }
func (s sinkDevice) ReadBatch([]packet.Packet) (int, error) { panic("not read") }

// Carrying a batch from the machine to socket and device allocates nothing.
// The engine asserts the same of itself; what a kernel socket allocates is
// x/net's, see BenchmarkBatchLoopback of package udp.
func TestFlushAllocates(t *testing.T) {
	s := new(sink)
	r := &running{c: &Client{}, mover: newMover(sinkSocket{s}, sinkDevice{s})}
	payload, to := make([]byte, 1280), netip.MustParseAddrPort("192.0.2.1:5000")
	ctx := t.Context()
	n := testing.AllocsPerRun(100, func() {
		for range batchLen {
			r.own.out.Transmit = append(r.own.out.Transmit, engine.Transmit{To: to, Payload: payload})
			r.own.out.Deliver = append(r.own.out.Deliver, payload)
		}
		r.flush(ctx)
	})
	if n != 0 || s.taken != 101*2*batchLen {
		t.Errorf("%v allocations a batch, %d packets", n, s.taken)
	}
}
