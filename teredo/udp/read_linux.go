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

// reading is the receiving half of a socket. The mutex guards arrays that are
// used again; in the intended use nobody contends for it.
type reading struct {
	mu    sync.Mutex
	hdrs  []mmsghdr
	iovs  []unix.Iovec
	msgs  []message
	n     int
	errno syscall.Errno
	call  func(fd uintptr) bool
}

// receive is called when the socket may be readable, and reports whether there
// was a result.
//
// The call is raw, here and wherever packets move: it does not wait, and the
// runtime, not told of it, has no reason to look every 20 µs for a processor to
// take away meanwhile, which cost a fifth of the time and more on a busy tunnel.
func (r *reading) receive(fd uintptr) bool {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.hdrs[0])), uintptr(len(r.hdrs)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		}
		r.n, r.errno = int(n), errno
		return true
	}
}

func (s *mmsgSocket) ReadBatch(pkts []packet.Packet) (int, error) {
	r := &s.reading
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(pkts) == 0 {
		return 0, nil
	}
	r.size(len(pkts))
	for {
		r.point(pkts) // again each time: the kernel writes into the headers
		if err := s.raw.Read(r.call); err != nil {
			return 0, err
		}
		if r.errno != 0 {
			if !transient(r.errno) {
				return 0, r.errno
			}
			s.readErrors.Add(1)
			continue
		}
		if n := s.keep(pkts); n > 0 {
			return n, nil
		}
	}
}

// point makes the headers of messages that go into pkts.
func (r *reading) point(pkts []packet.Packet) {
	for i := range pkts {
		b := pkts[i].Buf[packet.Headroom:]
		r.iovs[i].Base = unsafe.SliceData(b)
		r.iovs[i].SetLen(len(b))
		m := &r.msgs[i]
		h := &r.hdrs[i].hdr
		*h = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&m.name)), Namelen: unix.SizeofSockaddrInet4, Iov: &r.iovs[i], Control: &m.control[0]}
		h.SetIovlen(1)
		h.SetControllen(controlSize)
	}
}

// keep fills in the packets that were read, without those that do not fit.
func (s *mmsgSocket) keep(pkts []packet.Packet) int {
	r := &s.reading
	kept := 0
	for i := range r.n {
		h := &r.hdrs[i].hdr
		if h.Flags&unix.MSG_TRUNC != 0 {
			s.truncated.Add(1)
			continue
		}
		if kept != i {
			// Swap, so that every packet keeps a buffer of its own.
			pkts[kept].Buf, pkts[i].Buf = pkts[i].Buf, pkts[kept].Buf
		}
		p := &pkts[kept]
		m := &r.msgs[i]
		port := (*[2]byte)(unsafe.Pointer(&m.name.Port)) // network byte order
		p.Off, p.Len, p.TTL = packet.Headroom, int(r.hdrs[i].n), 0
		p.Segment = runSegment(m.control[:min(int(h.Controllen), controlSize)])
		if p.Segment >= p.Len {
			p.Segment = 0
		}
		p.Addr = netip.AddrPortFrom(netip.AddrFrom4(m.name.Addr), binary.BigEndian.Uint16(port[:]))
		kept++
	}
	return kept
}

// size makes room for n messages.
func (r *reading) size(n int) {
	if cap(r.hdrs) < n {
		r.hdrs, r.iovs, r.msgs = make([]mmsghdr, n), make([]unix.Iovec, n), make([]message, n)
	}
	r.hdrs = r.hdrs[:n]
}
