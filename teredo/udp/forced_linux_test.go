package udp

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"shipworm/teredo/packet"
)

// refuse has a socket's kernel refuse the messages that when gives an error for,
// and take at most few of the others at a time.
func refuse(s *mmsgSocket, few int, when func(m *message) syscall.Errno) {
	w := &s.writing
	send := w.call
	w.call = func(fd uintptr) bool {
		all := w.n
		defer func() { w.n = all }()
		for w.done < all {
			errno := syscall.Errno(0)
			k := w.done
			for k < min(all, w.done+few) && errno == 0 {
				if errno = when(&w.msgs[k]); errno == 0 {
					k++
				}
			}
			w.n = k
			if !send(fd) {
				return false
			}
			if w.errno == 0 {
				w.errno = errno
			}
			if w.errno != 0 {
				return true
			}
		}
		return true
	}
}

// exchange sends what random makes to a and b, and compares what arrives.
func exchange(t *testing.T, seed uint64, s, a, b Socket) {
	t.Helper()
	pkts, want := random(rand.New(rand.NewPCG(seed, 3)), [2]netip.AddrPort{a.LocalAddr(), b.LocalAddr()})
	if n, err := s.WriteBatch(pkts); err != nil || n != len(want[0])+len(want[1]) {
		t.Fatalf("WriteBatch = %d, %v; want %d", n, err, len(want[0])+len(want[1]))
	}
	collect(t, a, want[0])
	collect(t, b, want[1])
}

// TestRunsRefused: a kernel that refuses runs in the middle of a batch gets
// datagrams in their place, and none is lost: from then on where it knows no
// runs at all, for one peer and one batch where only that peer's path is too
// narrow.
func TestRunsRefused(t *testing.T) {
	for _, test := range []struct {
		errno syscall.Errno
		stays bool
	}{{unix.EIO, false}, {unix.EOPNOTSUPP, false}, {unix.ENOPROTOOPT, false}, {unix.EINVAL, true}, {unix.EMSGSIZE, true}} {
		s, a, b := open(t, 0).(*mmsgSocket), open(t, 1), open(t, 1)
		if !s.gso.Load() {
			t.Fatal("this kernel has no UDP_SEGMENT: nothing is tested")
		}
		toB := 0
		refuse(s, maxMessages, func(m *message) syscall.Errno {
			if m.segment == 0 {
				return 0
			}
			if binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&m.name.Port))[:]) == b.LocalAddr().Port() {
				toB++
				return 0
			}
			return test.errno
		})
		for seed := range uint64(4) {
			exchange(t, seed, s, a, b)
		}
		toB = 0
		exchange(t, 9, s, a, b)
		st := s.Stats()
		if s.gso.Load() != test.stays || toB > 0 != test.stays || st.Refusals == 0 || st.WriteDrops != 0 || !test.stays && st.Refusals != 1 {
			t.Errorf("%v: %+v, runs %v, %d of them to the other peer", test.errno, st, s.gso.Load(), toB)
		}
	}
}

// TestPartialSends: a kernel may take any number of messages at a time, and one
// that it refuses for good costs its own datagrams and no others.
func TestPartialSends(t *testing.T) {
	for few := 1; few < 8; few++ {
		s, a, b := open(t, 0).(*mmsgSocket), open(t, 1), open(t, 1)
		refuse(s, few, func(*message) syscall.Errno { return 0 })
		exchange(t, uint64(few), s, a, b)
	}
	s, r := open(t, 0).(*mmsgSocket), open(t, 1)
	refuse(s, 3, func(m *message) syscall.Errno {
		if m.ttl == 9 {
			return unix.EPERM
		}
		return 0
	})
	var pkts []packet.Packet
	var want [][]byte
	for i := range 50 {
		var p packet.Packet
		p.Set(make([]byte, 10+i), r.LocalAddr())
		switch i % 7 {
		case 3:
			p.TTL = 9
		case 5:
			p.Len = 0
		default:
			want = append(want, p.Data())
		}
		pkts = append(pkts, p)
	}
	if n, err := s.WriteBatch(pkts); n != len(want) || err != nil || s.Stats().WriteDrops != uint64(len(pkts)-len(want)) {
		t.Errorf("WriteBatch = %d, %v; want %d; %+v", n, err, len(want), s.Stats())
	}
	collect(t, r, want)
}

// TestDropsCountOnce: what cannot be sent counts once, though a refused run
// behind which it stands is built again.
func TestDropsCountOnce(t *testing.T) {
	s, r := open(t, 0).(*mmsgSocket), open(t, 1)
	refuse(s, maxMessages, func(m *message) syscall.Errno {
		if m.segment > 0 {
			return unix.EMSGSIZE
		}
		return 0
	})
	pkts := make([]packet.Packet, 3)
	pkts[0].Set(make([]byte, 1000), r.LocalAddr())
	pkts[0].Segment = 300
	pkts[1].Set(nil, r.LocalAddr())
	pkts[2].Set([]byte("last"), r.LocalAddr())
	if n, err := s.WriteBatch(pkts); n != 5 || err != nil || s.Stats().WriteDrops != 1 {
		t.Errorf("WriteBatch = %d, %v, %+v", n, err, s.Stats())
	}
}

// TestRunBehindTruncated: the headers of a call are made anew when nothing of
// the last one could be kept, or the next run would seem to be one datagram.
func TestRunBehindTruncated(t *testing.T) {
	s, r := open(t, 0), open(t, 1)
	out := make([]packet.Packet, 1)
	in := packet.NewBatch(1, packet.Headroom+2000)
	out[0].Set(make([]byte, 3000), r.LocalAddr())
	if _, err := s.WriteBatch(out); err != nil {
		t.Fatal(err)
	}
	out[0].Set(make([]byte, 1900), r.LocalAddr())
	out[0].Segment = 950
	if _, err := s.WriteBatch(out); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadBatch(in); err != nil || in[0].Len != 1900 || in[0].Segment != 950 || r.Stats().Truncated != 1 {
		t.Errorf("%d bytes in segments of %d, %v, %+v", in[0].Len, in[0].Segment, err, r.Stats())
	}
}

// FuzzRunSegment: whatever control messages come, none is read beyond its end,
// and what was put is found behind others.
func FuzzRunSegment(f *testing.F) {
	var b [controlSize]byte
	n := putControl(b[:], 0, unix.IPPROTO_IP, unix.IP_TTL, 4, 64)
	n = putControl(b[:], n, unix.IPPROTO_UDP, unix.UDP_GRO, 4, 1280)
	f.Add(b[:n])
	f.Add(b[:n-4])
	f.Add(make([]byte, headerSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := runSegment(b); n < 0 {
			t.Errorf("a segment of %d bytes", n)
		}
	})
}
