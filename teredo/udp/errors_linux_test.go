package udp

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"shipworm/teredo/packet"
)

// TestSendErrors: an error of a single datagram costs that one alone, whatever
// it is, and is never taken for a refusal of runs; only a socket that is gone
// ends the batch. T-33
func TestSendErrors(t *testing.T) {
	for _, test := range []struct {
		errno syscall.Errno
		gone  bool
	}{
		{unix.ENOBUFS, false}, {unix.ENOMEM, false}, {unix.ECONNREFUSED, false}, {unix.EMSGSIZE, false}, {unix.EINVAL, false}, {unix.EIO, false},
		{unix.ENETUNREACH, false}, {unix.EHOSTUNREACH, false}, {unix.EPERM, false}, {unix.EACCES, false}, {unix.ENOPROTOOPT, false},
		{unix.EBADF, true}, {unix.ENOTSOCK, true},
	} {
		t.Run(test.errno.Error(), func(t *testing.T) {
			s, r := open(t, 0).(*mmsgSocket), open(t, 1)
			refuse(s, maxMessages, func(m *message) syscall.Errno {
				if m.ttl == 9 {
					return test.errno
				}
				return 0
			})
			var pkts []packet.Packet
			var want [][]byte
			for i := range 20 {
				var p packet.Packet
				p.Set(fmt.Appendf(nil, "datagram %d", i), r.LocalAddr())
				if i%5 == 3 {
					p.TTL = 9
				} else if !test.gone || i < 3 {
					want = append(want, p.Data())
				}
				pkts = append(pkts, p)
			}
			n, err := s.WriteBatch(pkts)
			if n != len(want) || (err != nil) != test.gone || test.gone && !errors.Is(err, test.errno) {
				t.Errorf("WriteBatch = %d, %v; want %d", n, err, len(want))
			}
			if st := s.Stats(); !test.gone && (st.WriteDrops != 4 || st.Refusals != 0 || !s.gso.Load()) {
				t.Errorf("%+v, runs %v", st, s.gso.Load())
			}
			collect(t, r, want)
		})
	}
}

// TestReadErrors: what one datagram or an ICMP message did to a read is counted,
// and the next one waited for; an error of the socket itself ends it. T-33
func TestReadErrors(t *testing.T) {
	for _, test := range []struct {
		errno syscall.Errno
		ends  bool
	}{
		{unix.ECONNREFUSED, false}, {unix.EHOSTUNREACH, false}, {unix.ENETUNREACH, false}, {unix.EMSGSIZE, false}, {unix.ENOBUFS, false},
		{unix.ENOMEM, false}, {unix.EPROTO, false}, {unix.EBADF, true}, {unix.ENOTSOCK, true},
	} {
		t.Run(test.errno.Error(), func(t *testing.T) {
			s, from := open(t, 1).(*mmsgSocket), open(t, 0)
			receive, first := s.reading.call, true
			s.reading.call = func(fd uintptr) bool {
				if first {
					first = false
					s.reading.n, s.reading.errno = 0, test.errno
					return true
				}
				return receive(fd)
			}
			out := make([]packet.Packet, 1)
			out[0].Set([]byte("behind it"), s.LocalAddr())
			if _, err := from.WriteBatch(out); err != nil {
				t.Fatal(err)
			}
			in := packet.NewBatch(2, packet.RunSize)
			n, err := s.ReadBatch(in)
			if test.ends {
				if n != 0 || !errors.Is(err, test.errno) {
					t.Errorf("ReadBatch = %d, %v", n, err)
				}
				return
			}
			if n != 1 || err != nil || string(in[0].Data()) != "behind it" || s.Stats().ReadErrors != 1 {
				t.Errorf("ReadBatch = %d, %v, %+v", n, err, s.Stats())
			}
		})
	}
}

// TestRunsRefusedLater: a card that stops taking runs at any moment, in the middle
// of a batch and of a long run, costs nothing but the one call.
func TestRunsRefusedLater(t *testing.T) {
	for _, errno := range []syscall.Errno{unix.EIO, unix.EINVAL} {
		for after := range 6 {
			s, a, b := open(t, 0).(*mmsgSocket), open(t, 1), open(t, 1)
			runs := 0
			refuse(s, 1, func(m *message) syscall.Errno { // asked again about the one that it refused
				if m.segment == 0 {
					return 0
				}
				if runs++; runs > after {
					return errno
				}
				return 0
			})
			for seed := range uint64(3) {
				exchange(t, 100*uint64(after)+seed, s, a, b)
			}
			st := s.Stats()
			if st.WriteDrops != 0 || st.Refusals == 0 || errno == unix.EIO && (st.Refusals != 1 || s.gso.Load()) {
				t.Errorf("%v after %d runs: %+v", errno, after, st)
			}
		}
	}
}

// TestOldKernel: without UDP_SEGMENT and UDP_GRO there are datagrams, from the
// first on.
func TestOldKernel(t *testing.T) {
	s, a, b := open(t, 0).(*mmsgSocket), open(t, 0), open(t, 2)
	s.gso.Store(false) // as newSocket leaves it there
	refuse(s, maxMessages, func(m *message) syscall.Errno {
		if m.segment > 0 {
			t.Error("a run")
		}
		return 0
	})
	for seed := range uint64(4) {
		exchange(t, seed, s, a, b)
	}
}

// TestClosedWhileSending: whatever kind the socket is.
func TestClosedWhileSending(t *testing.T) {
	for kind := range kinds {
		t.Run(kinds[kind].name, func(t *testing.T) {
			s, r := open(t, kind), open(t, kind)
			ended := make(chan error, 1)
			out := make([]packet.Packet, 40)
			for i := range out {
				out[i].Set(make([]byte, 1000), r.LocalAddr())
			}
			began := make(chan struct{})
			go func() {
				_, err := s.WriteBatch(out)
				close(began)
				for err == nil {
					_, err = s.WriteBatch(out)
				}
				ended <- err
			}()
			<-began
			s.Close()
			if err := <-ended; !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		})
	}
}

// TestShapeOfRuns: what kernels before 6.9 take, and never a run of one.
func TestShapeOfRuns(t *testing.T) {
	s, r := open(t, 0).(*mmsgSocket), open(t, 1)
	refuse(s, maxMessages, func(m *message) syscall.Errno {
		if m.segment > 0 && (m.datagrams < 2 || m.datagrams > 64 || m.segment*(m.datagrams-1) >= 65507) || m.segment == 0 && m.datagrams != 1 {
			t.Errorf("a run of %d datagrams of %d bytes", m.datagrams, m.segment)
		}
		return unix.EPERM // nobody needs to get them
	})
	for _, length := range []int{1, 2, 100, 1280, 30000, 65000, 65507, 65600} {
		for _, size := range []int{0, 1, 2, 99, 500, 1280, 1400, 32753, 32754, 40000, 65507} {
			pkts := make([]packet.Packet, min(70, 1+100_000/length))
			for i := range pkts {
				pkts[i].Set(make([]byte, length), r.LocalAddr())
				pkts[i].Segment = size
			}
			if n, err := s.WriteBatch(pkts); n != 0 || err != nil {
				t.Errorf("WriteBatch = %d, %v", n, err)
			}
		}
	}
}
