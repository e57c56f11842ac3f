package teredo

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"shipworm/teredo/engine"
	"shipworm/teredo/packet"
	"shipworm/teredo/udp"
)

// takingSocket keeps what it is to send.
type takingSocket struct {
	udp.Socket
	got []packet.Packet
}

func (s *takingSocket) WriteBatch(pkts []packet.Packet) (int, error) {
	s.got = append(s.got, pkts...)
	return len(pkts), nil
}

// What a machine wants to be sent reaches the socket with all that it said of
// it, whatever was sent before.
func TestTransmit(t *testing.T) {
	peer := netip.MustParseAddrPort("192.0.2.1:3545")
	s := &takingSocket{}
	m, h := newMover(s, nil), half{}
	for _, ts := range [][]engine.Transmit{
		{{Payload: []byte("a run of six"), To: peer, Segment: 2}, {Payload: []byte("far"), To: peer, TTL: 3}},
		{{Payload: []byte("plain"), To: peer}, {Payload: []byte("plain"), To: peer}},
	} {
		var want []packet.Packet
		for _, x := range ts {
			want = append(want, packet.Packet{Buf: x.Payload, Len: len(x.Payload), Segment: x.Segment, TTL: x.TTL, Addr: x.To})
		}
		s.got = nil
		h.out.Transmit = ts
		m.carry(&h)
		if diff := cmp.Diff(want, s.got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

// Whoever moves packets wakes the owner of the timer where the machine now wants
// to be asked sooner than that would ring, and only then.
func TestPoke(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		name      string
		due, next time.Time
		want      int
	}{
		{"sooner", now.Add(time.Hour), now.Add(time.Second), 1},
		{"the first", time.Time{}, now.Add(time.Second), 1},
		{"later", now.Add(time.Second), now.Add(time.Hour), 0},
		{"as before", now, now, 0},
		{"no more", now, time.Time{}, 0},
		{"nothing at all", time.Time{}, time.Time{}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMover(nil, nil)
			m.due = test.due
			left := 3
			err := m.run(func([]packet.Packet) (int, error) {
				if left--; left < 0 {
					return 0, net.ErrClosed
				}
				return 1, nil
			}, func() time.Time { return test.next }, func(time.Time, []packet.Packet, *engine.Output) {}, something)
			if err != net.ErrClosed || len(m.poke) != test.want {
				t.Errorf("%v, poked %d times, want %d", err, len(m.poke), test.want)
			}
		})
	}
}
