package udp

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"shipworm/teredo/packet"
)

// Bounds of one message. Kernels before 6.9 take 64 datagrams a run; the length
// is that of the largest UDP datagram over IPv4.
const (
	maxMessages = 64
	maxSegments = 64
	maxRun      = 65507
)

// writing is the sending half of a socket, with arrays that are used again.
type writing struct {
	mu    sync.Mutex
	hdrs  [maxMessages]mmsghdr
	msgs  [maxMessages]message
	iovs  []unix.Iovec
	n     int // messages to send
	done  int // of them, sent
	errno syscall.Errno
	call  func(fd uintptr) bool
	now   func(fd uintptr) bool
	one   [1]packet.Packet // of WriteNow

	// Of one batch: who gets no runs, and the first packet that build has
	// not seen yet.
	narrow netip.AddrPort
	fresh  int
}

// send is called when the socket may be writable, and reports whether there is
// a result: everything sent, or an error that belongs to message done.
func (w *writing) send(fd uintptr) bool {
	for w.done < w.n {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&w.hdrs[w.done])), uintptr(w.n-w.done), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			w.done += int(n)
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			w.errno = errno
			return true
		}
	}
	return true
}

// sendNow is send that never waits.
func (w *writing) sendNow(fd uintptr) bool {
	if !w.send(fd) {
		w.errno = unix.EAGAIN
	}
	return true
}

// WriteNow implements NowWriter.
func (s *mmsgSocket) WriteNow(p packet.Packet) bool {
	w := &s.writing
	if !w.mu.TryLock() {
		return false
	}
	defer w.mu.Unlock()
	w.narrow, w.fresh, w.one[0] = netip.AddrPort{}, 0, p
	s.build(w.one[:], 0, 0)
	if w.n == 0 {
		return true // no IPv4, and counted
	}
	w.done, w.errno = 0, 0
	if s.raw.Write(w.now) != nil || w.errno == unix.EAGAIN || closed(w.errno) {
		return false
	}
	if w.errno != 0 {
		s.writeDrops.Add(1)
	}
	return true
}

func (s *mmsgSocket) WriteBatch(pkts []packet.Packet) (int, error) {
	w := &s.writing
	w.mu.Lock()
	defer w.mu.Unlock()
	w.narrow, w.fresh = netip.AddrPort{}, 0
	sent, i, offset := 0, 0, 0
	for i < len(pkts) {
		i, offset = s.build(pkts, i, offset)
		w.done, w.errno = 0, 0
		if w.n > 0 {
			if err := s.raw.Write(w.call); err != nil {
				return sent, err
			}
		}
		for k := range w.done {
			sent += w.msgs[k].datagrams
		}
		if w.done == w.n {
			continue
		}
		// The error belongs to the first message that was not sent.
		m := &w.msgs[w.done]
		switch {
		case closed(w.errno):
			return sent, w.errno
		case m.segment > 0 && narrow(w.errno):
			s.refusals.Add(1)
			i, offset = m.first, m.offset
			w.narrow = pkts[i].Addr
		case m.segment > 0 && refusesRuns(w.errno):
			s.gso.Store(false)
			s.refusals.Add(1)
			i, offset = m.first, m.offset
		default:
			s.writeDrops.Add(uint64(m.datagrams))
			if w.done+1 < w.n {
				i, offset = w.msgs[w.done+1].first, w.msgs[w.done+1].offset
			}
		}
	}
	return sent, nil
}

// narrow reports whether err may say that the path to one peer is too narrow for
// the datagrams of a run, which are not to be fragmented: EINVAL before Linux
// 6.14. A forged ICMP message is enough for that, so only that peer suffers, and
// only until the next batch.
func narrow(err syscall.Errno) bool { return err == unix.EMSGSIZE || err == unix.EINVAL }

// refusesRuns reports whether err may come from the run and not from the
// datagrams: EIO where a network card cannot checksum them, the others from old
// kernels.
func refusesRuns(err syscall.Errno) bool {
	return err == unix.EIO || err == unix.ENOPROTOOPT || err == unix.EOPNOTSUPP
}

// build fills the messages from packet i on, from offset in it, and returns
// where it stopped.
func (s *mmsgSocket) build(pkts []packet.Packet, i, offset int) (int, int) {
	w := &s.writing
	runs := s.gso.Load()
	w.n, w.iovs = 0, w.iovs[:0]
	for i < len(pkts) && w.n < maxMessages {
		p := &pkts[i]
		to := p.Addr.Addr().Unmap()
		if !to.Is4() || p.Len == 0 {
			if i >= w.fresh {
				s.writeDrops.Add(1)
			}
			i++
			w.fresh = max(w.fresh, i)
			continue
		}
		gso := runs && p.Addr != w.narrow
		m := &w.msgs[w.n]
		m.first, m.offset, m.iov, m.iovs, m.ttl = i, offset, len(w.iovs), 1, p.TTL
		m.segment, m.datagrams = 0, 1
		b := p.Data()[offset:]
		switch {
		case p.Segment > 0 && len(b) > p.Segment && !gso:
			b = b[:p.Segment]
		case p.Segment > 0 && len(b) > p.Segment:
			m.segment = p.Segment
			m.datagrams = min((len(b)+p.Segment-1)/p.Segment, maxSegments, max(maxRun/p.Segment, 1))
			b = b[:min(len(b), m.datagrams*p.Segment)]
			if m.datagrams == 1 {
				m.segment = 0 // never a run of one
			}
		}
		w.add(b)
		if offset += len(b); offset == p.Len {
			i, offset = i+1, 0
			if gso && p.Segment == 0 {
				i = w.join(pkts, m, i)
			}
		}
		m.name.Family, m.name.Addr = unix.AF_INET, to.As4()
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&m.name.Port))[:], p.Addr.Port())
		w.n++
	}
	for k := range w.n {
		w.point(k)
	}
	return i, offset
}

// join makes a run of a message of one packet and those behind it that go the
// same way: the kernel gathers them. It returns the first that stays out.
func (w *writing) join(pkts []packet.Packet, m *message, i int) int {
	p := &pkts[m.first]
	for total := p.Len; i < len(pkts) && m.datagrams < maxSegments; i++ {
		q := &pkts[i]
		if q.Addr != p.Addr || q.TTL != p.TTL || q.Segment != 0 || q.Len == 0 || q.Len > p.Len || total+q.Len > maxRun {
			break
		}
		w.add(q.Data())
		total += q.Len
		m.segment, m.datagrams, m.iovs = p.Len, m.datagrams+1, m.iovs+1
		if q.Len < p.Len {
			return i + 1 // only the last may be shorter
		}
	}
	return i
}

func (w *writing) add(b []byte) {
	w.iovs = append(w.iovs, unix.Iovec{Base: unsafe.SliceData(b)})
	w.iovs[len(w.iovs)-1].SetLen(len(b))
}

// point makes the header of message k, now that its iovecs stay where they are.
func (w *writing) point(k int) {
	m, h := &w.msgs[k], &w.hdrs[k].hdr
	*h = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&m.name)), Namelen: unix.SizeofSockaddrInet4, Iov: &w.iovs[m.iov]}
	h.SetIovlen(m.iovs)
	n := 0
	if m.segment > 0 {
		n = putControl(m.control[:], n, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 2, m.segment)
	}
	if m.ttl != 0 {
		n = putControl(m.control[:], n, unix.IPPROTO_IP, unix.IP_TTL, 4, int(m.ttl))
	}
	if n > 0 {
		h.Control = &m.control[0]
		h.SetControllen(n)
	}
}
