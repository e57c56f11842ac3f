package tun

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"shipworm/internal/nic"
	"shipworm/teredo/packet"
	"shipworm/teredo/segment"
)

// vnetDevice exchanges super-packets with the kernel: what TCP writes in one go
// comes out in one piece, and what arrives for one flow goes in as one.
type vnetDevice struct {
	file *os.File
	raw  syscall.RawConn
	in   vnetReading
	out  vnetWriting
}

// vnetHeader is the length of struct virtio_net_hdr.
const vnetHeader = 10

// openVnet returns nil and no error where the kernel has no such device.
func openVnet(name string) (device, error) {
	fd, uso, err := nic.OpenVnet(name)
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOTTY), errors.Is(err, unix.EOPNOTSUPP):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("tun: %w", err)
	}
	d := &vnetDevice{file: os.NewFile(uintptr(fd), name)}
	if d.raw, err = d.file.SyscallConn(); err != nil {
		d.file.Close()
		return nil, fmt.Errorf("tun: %w", err)
	}
	d.in.call, d.out.call = d.in.fill, d.out.writev
	d.in.buf = make([]byte, vnetHeader+segment.MaxHeader+segment.MaxPayload)
	d.out.join.UDP = uso
	return d, nil
}

// removed tells the end of an interface from other errors of reading it.
func removed(err error) bool { return errors.Is(err, unix.EBADFD) }

func (d *vnetDevice) Close() error { return d.file.Close() }

// vnetReading is the state of the one goroutine that reads.
type vnetReading struct {
	buf   []byte // one read: header and packet
	parts segment.Splitter
	pkts  []packet.Packet // to fill
	n     int             // of them, filled
	err   error
	call  func(fd uintptr) bool
}

func (d *vnetDevice) read(pkts []packet.Packet) (int, error) {
	r := &d.in
	r.pkts, r.n, r.err = pkts, 0, nil
	err := d.raw.Read(r.call)
	r.pkts = nil
	if r.n > 0 {
		return r.n, nil
	}
	return 0, errors.Join(err, r.err)
}

// fill is called when there may be something to read, and reports whether there
// was. Its calls are raw because they do not wait; see package udp.
func (r *vnetReading) fill(fd uintptr) bool {
	for r.n < len(r.pkts) {
		if !r.parts.More() {
			n, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&r.buf[0])), uintptr(len(r.buf)))
			switch {
			case errno == unix.EINTR:
				continue
			case errno == unix.EAGAIN:
				return r.n > 0
			case errno != 0:
				r.err = os.NewSyscallError("read", errno)
				return true
			case n < vnetHeader || !r.begin(r.buf[vnetHeader:n]):
				continue
			}
		}
		if r.parts.More() {
			r.next()
		}
	}
	return true
}

// begin takes in one read, and reports whether it left something to take apart
// or filled a packet. What makes no sense is left out.
func (r *vnetReading) begin(b []byte) bool {
	h := r.buf[:vnetHeader]
	switch h[1] &^ unix.VIRTIO_NET_HDR_GSO_ECN {
	case unix.VIRTIO_NET_HDR_GSO_NONE:
	case unix.VIRTIO_NET_HDR_GSO_TCPV6, unix.VIRTIO_NET_HDR_GSO_UDP_L4:
		return r.parts.Begin(b, int(binary.NativeEndian.Uint16(h[4:]))) == nil
	default:
		return false
	}
	if h[0]&unix.VIRTIO_NET_HDR_F_NEEDS_CSUM != 0 &&
		!segment.Finish(b, int(binary.NativeEndian.Uint16(h[6:])), int(binary.NativeEndian.Uint16(h[8:]))) {
		return false
	}
	p := &r.pkts[r.n]
	if len(b) == 0 || len(b) > len(p.Buf)-packet.Headroom {
		return false
	}
	p.Off, p.Len, p.Segment = packet.Headroom, copy(p.Buf[packet.Headroom:], b), 0
	r.n++
	return true
}

// next fills a packet with the next part of a super-packet, or first the room
// that the last one has: the fewer runs, the fewer messages through the socket.
func (r *vnetReading) next() {
	if r.n > 0 && r.extend(&r.pkts[r.n-1]) {
		return
	}
	p := &r.pkts[r.n]
	n, length, err := r.parts.Next(p.Buf[packet.Headroom:])
	if err != nil { // the reader has no room for packets of this size
		r.parts = segment.Splitter{}
		return
	}
	p.Off, p.Len, p.Segment = packet.Headroom, n, 0
	if n > length {
		p.Segment = length
	}
	r.n++
}

// extend lays what follows p behind it, if anything does and fits.
func (r *vnetReading) extend(p *packet.Packet) bool {
	size := p.Segment
	if size == 0 {
		size = p.Len
	}
	if p.Len%size != 0 || !r.parts.Follows(p.Data()[p.Len-size:]) {
		return false
	}
	n, _, err := r.parts.Next(p.Buf[p.Off+p.Len:])
	if err == nil {
		p.Len, p.Segment = p.Len+n, size
	}
	return err == nil
}

// vnetWriting is the state of the one goroutine that writes.
type vnetWriting struct {
	join  segment.Coalescer
	hdr   [vnetHeader]byte
	iovs  []unix.Iovec
	errno syscall.Errno
	call  func(fd uintptr) bool
}

func (d *vnetDevice) write(pkts [][]byte) (taken int) {
	w := &d.out
	for len(pkts) > 0 {
		n := w.join.Next(pkts)
		switch {
		case n == 1:
			taken += d.one(pkts[0])
		case d.many(pkts[:n]):
			taken += n
		case w.errno == unix.EINVAL: // this kernel wants none of that kind
			w.join.UDP = w.join.UDP && w.join.TCP()
			for _, b := range pkts[:n] {
				taken += d.one(b)
			}
		}
		pkts = pkts[n:]
	}
	return taken
}

// one writes a packet, and returns how many were taken.
func (d *vnetDevice) one(b []byte) int {
	w := &d.out
	w.iovs, w.hdr = w.iovs[:0], [vnetHeader]byte{}
	w.add(w.hdr[:])
	w.add(b)
	if d.raw.Write(w.call) != nil || w.errno != 0 {
		return 0
	}
	return 1
}

// many writes packets as the super-packet that was found last.
func (d *vnetDevice) many(pkts [][]byte) bool {
	w := &d.out
	w.iovs, w.errno = w.iovs[:0], 0
	w.super(pkts)
	return d.raw.Write(w.call) == nil && w.errno == 0
}

// super makes the headers of a super-packet, and gathers its payload.
func (w *vnetWriting) super(pkts [][]byte) {
	h := w.join.Header()
	w.add(w.hdr[:])
	w.hdr[0] = unix.VIRTIO_NET_HDR_F_NEEDS_CSUM
	w.hdr[1] = unix.VIRTIO_NET_HDR_GSO_TCPV6
	if !w.join.TCP() {
		w.hdr[1] = unix.VIRTIO_NET_HDR_GSO_UDP_L4
	}
	binary.NativeEndian.PutUint16(w.hdr[2:], uint16(len(h)))
	binary.NativeEndian.PutUint16(w.hdr[4:], uint16(w.join.Size()))
	binary.NativeEndian.PutUint16(w.hdr[6:], segment.TransportAt)
	binary.NativeEndian.PutUint16(w.hdr[8:], uint16(w.join.ChecksumAt()))
	w.add(h)
	for _, p := range pkts {
		w.add(p[len(h):])
	}
}

func (w *vnetWriting) add(b []byte) {
	w.iovs = append(w.iovs, unix.Iovec{Base: unsafe.SliceData(b)})
	w.iovs[len(w.iovs)-1].SetLen(len(b))
}

// writev writes one packet. A device that is busy loses it.
func (w *vnetWriting) writev(fd uintptr) bool {
	for {
		_, _, w.errno = unix.RawSyscall(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&w.iovs[0])), uintptr(len(w.iovs)))
		if w.errno != unix.EINTR {
			return true
		}
	}
}
