package tun

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"shipworm/teredo/packet"
	"shipworm/teredo/segment"
)

// newVnet returns a device whose kernel is the test, at the other end of a pair
// of sockets that keeps the bounds of what is written.
func newVnet(t testing.TB) (d *vnetDevice, kernel int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	d = &vnetDevice{file: os.NewFile(uintptr(fds[0]), "vnet")}
	t.Cleanup(func() { d.file.Close(); unix.Close(fds[1]) })
	if d.raw, err = d.file.SyscallConn(); err != nil {
		t.Fatal(err)
	}
	d.in.call, d.out.call = d.in.fill, d.out.writev
	d.in.buf = make([]byte, vnetHeader+segment.MaxHeader+segment.MaxPayload)
	d.out.join.UDP = true
	return d, fds[1]
}

// transport makes a TCP or UDP packet, with options in front of the payload of
// the former, and a right checksum.
func transport(proto byte, seq uint32, flags byte, options int, payload []byte) []byte {
	b := make([]byte, 40, 1400)
	b[0], b[6], b[7] = 0x60, proto, 64
	copy(b[8:], own.AsSlice())
	copy(b[24:], peer.AsSlice())
	be := binary.BigEndian
	b = append(b, 0x10, 0, 0x20, 0)
	if proto == 6 {
		b = be.AppendUint32(b, seq)
		b = append(b, 0, 0, 0, 9, byte(5+options)<<4, flags, 1, 2, 0, 0, 0, 0)
		b = append(b, make([]byte, 4*options)...)
	} else {
		b = be.AppendUint16(b, uint16(8+len(payload)))
		b = append(b, 0, 0)
	}
	b = append(b, payload...)
	be.PutUint16(b[4:], uint16(len(b)-40))
	segment.SetChecksum(b)
	return b
}

// stream makes neighbours that may be joined and others, of all sizes.
func stream(rng *rand.Rand) (pkts [][]byte) {
	seq := rng.Uint32()
	for len(pkts) < 200 {
		size, options := rng.IntN(1100), rng.IntN(11)
		proto := []byte{6, 17, 58}[rng.IntN(3)]
		for range 1 + rng.IntN(60) {
			flags := byte(0x10)
			if rng.IntN(20) == 0 {
				flags = byte(rng.Uint32())
			}
			n := size
			if rng.IntN(20) == 0 {
				n = rng.IntN(1100)
			}
			payload := make([]byte, n)
			for i := range payload {
				payload[i] = byte(rng.Uint32())
			}
			b := transport(proto, seq, flags, options, payload)
			seq += uint32(n)
			switch rng.IntN(40) {
			case 0:
				b[7] = 3 // hop limit
			case 1:
				b[1] |= 0x30 // congestion experienced
			case 2:
				b[len(b)-1] ^= 1 // perhaps a wrong checksum
			}
			pkts = append(pkts, b)
		}
	}
	return pkts
}

// promised checks what the kernel goes by in the header of a super-packet.
func promised(t *testing.T, frame []byte) {
	t.Helper()
	field := func(at int) int { return int(binary.NativeEndian.Uint16(frame[at:])) }
	b := bytes.Clone(frame[vnetHeader:])
	if frame[0] != unix.VIRTIO_NET_HDR_F_NEEDS_CSUM || field(2) != segment.HeaderLen(b) || field(4) == 0 ||
		!segment.Finish(b, field(6), field(8)) || !segment.Checked(b) {
		t.Fatalf("header %x", frame[:vnetHeader])
	}
}

// TestVnetRoundTrip: what is written to one device as super-packets, and read
// from another, is what it was, in order, whatever room the reader has.
func TestVnetRoundTrip(t *testing.T) {
	for _, size := range []int{packet.DefaultSize, 5000, packet.RunSize} {
		supers := 0
		for seed := range uint64(20) {
			rng := rand.New(rand.NewPCG(seed, uint64(size)))
			d, kernel := newVnet(t)
			r, toReader := newVnet(t)
			want := stream(rng)
			in := packet.NewBatch(1+rng.IntN(40), size)
			var got [][]byte
			frame := make([]byte, 1<<17)
			for rest := want; len(rest) > 0; {
				n := min(1+rng.IntN(64), len(rest))
				if taken := d.write(rest[:n]); taken != n {
					t.Fatalf("%d packets of %d were taken", taken, n)
				}
				for {
					k, err := unix.Read(kernel, frame)
					if err == unix.EAGAIN {
						break
					} else if err != nil {
						t.Fatal(err)
					}
					if frame[1] != 0 {
						supers++
						promised(t, frame[:k])
					}
					if _, err := unix.Write(toReader, frame[:k]); err != nil {
						t.Fatal(err)
					}
					for sent := len(got); len(got) == sent || r.in.parts.More(); {
						m, err := r.read(in)
						if err != nil {
							t.Fatal(err)
						}
						for i := range in[:m] {
							for b := range in[i].Datagrams() {
								got = append(got, bytes.Clone(b))
							}
						}
					}
				}
				rest = rest[n:]
			}
			if !slices.EqualFunc(got, want, bytes.Equal) {
				t.Fatalf("seed %d: %d packets of %d, or others", seed, len(got), len(want))
			}
		}
		if supers < 100 {
			t.Errorf("only %d super-packets", supers)
		}
	}
}

// TestVnetRefused: a kernel that takes no super-packet gets its packets one by
// one, and no more such of UDP.
func TestVnetRefused(t *testing.T) {
	d, kernel := newVnet(t)
	w := &d.out
	write, refused := w.call, 0
	w.call = func(fd uintptr) bool {
		if w.hdr[1] != 0 {
			refused++
			w.errno = syscall.EINVAL
			return true
		}
		return write(fd)
	}
	u := transport(17, 0, 0, 0, make([]byte, 100))
	for range 3 {
		if n := d.write([][]byte{u, u, u}); n != 3 {
			t.Errorf("%d packets were taken", n)
		}
	}
	frame := make([]byte, 1<<17)
	for range 9 {
		if n, err := unix.Read(kernel, frame); err != nil || !bytes.Equal(frame[vnetHeader:n], u) {
			t.Fatal(n, err)
		}
	}
	if refused != 1 || w.join.UDP {
		t.Errorf("%d were refused", refused)
	}
}

// TestVnetBadFrames: what makes no sense is left out, and what follows is not.
func TestVnetBadFrames(t *testing.T) {
	good := transport(6, 1, 0x10, 0, make([]byte, 100))
	frame := func(flags, gso byte, size, start, at uint16, b []byte) []byte {
		f := make([]byte, vnetHeader, 200)
		f[0], f[1] = flags, gso
		for i, v := range []uint16{0, size, start, at} {
			binary.NativeEndian.PutUint16(f[2+2*i:], v)
		}
		return append(f, b...)
	}
	for name, bad := range map[string][]byte{
		"short":                    {1, 2, 3},
		"empty packet":             frame(0, 0, 0, 0, 0, nil),
		"segments of nothing":      frame(1, unix.VIRTIO_NET_HDR_GSO_TCPV6, 0, 40, 16, good),
		"IPv4 segments":            frame(1, unix.VIRTIO_NET_HDR_GSO_TCPV4, 10, 40, 16, good),
		"another kind of segments": frame(1, 77, 10, 40, 16, good),
		"segments of no packet":    frame(1, unix.VIRTIO_NET_HDR_GSO_UDP_L4, 10, 40, 16, good[:30]),
		"checksum outside":         frame(1, 0, 0, 40, 200, good),
		"checksum in the header":   frame(1, 0, 0, 0, 4, good),
	} {
		d, kernel := newVnet(t)
		for _, f := range [][]byte{bad, frame(0, 0, 0, 0, 0, good)} {
			if _, err := unix.Write(kernel, f); err != nil {
				t.Fatal(err)
			}
		}
		in := packet.NewBatch(4, packet.DefaultSize)
		if n, err := d.read(in); n != 1 || err != nil || !bytes.Equal(in[0].Data(), good) {
			t.Errorf("%s: %d packets, %v", name, n, err)
		}
	}
}

// FuzzVnet: no frame of the kernel's makes it panic, or fills more than there is
// room for; what comes of super-packets has checksums.
func FuzzVnet(f *testing.F) {
	super := transport(6, 1, 0x18, 3, make([]byte, 1000))
	f.Add([]byte{1, unix.VIRTIO_NET_HDR_GSO_TCPV6, 72, 0, 100, 0, 40, 0, 16, 0}, super, uint16(1500))
	f.Add([]byte{1, unix.VIRTIO_NET_HDR_GSO_UDP_L4, 48, 0, 1, 0, 40, 0, 6, 0}, transport(17, 0, 0, 0, make([]byte, 300)), uint16(100))
	f.Add([]byte{1, 0, 48, 0, 0, 0, 40, 0, 6, 0}, transport(17, 0, 0, 0, nil), uint16(100))
	f.Fuzz(func(t *testing.T, header, b []byte, room uint16) {
		if len(header) < vnetHeader || len(b) > segment.MaxPayload {
			return
		}
		var r vnetReading
		r.buf = append(bytes.Clone(header[:vnetHeader]), b...)
		gso := header[1]&^unix.VIRTIO_NET_HDR_GSO_ECN != 0
		r.pkts = packet.NewBatch(1, packet.Headroom+int(room))
		r.begin(r.buf[vnetHeader:])
		take := func() {
			for i := range r.pkts[:r.n] {
				p := &r.pkts[i]
				if p.Off != packet.Headroom || p.Len <= 0 || p.Segment < 0 || p.Segment >= p.Len && p.Segment > 0 {
					t.Fatalf("%d bytes at %d in segments of %d", p.Len, p.Off, p.Segment)
				}
				for d := range p.Datagrams() {
					if gso && !segment.Checked(d) {
						t.Fatalf("wrong checksum: %x", d)
					}
				}
			}
			r.n = 0
		}
		for take(); r.parts.More(); take() {
			r.next()
		}
	})
}

// super makes what the kernel hands over of a flow: packets with size bytes of
// payload, in one piece.
func super(proto byte, seq uint32, flags byte, size int, payload []byte) []byte {
	frame := make([]byte, vnetHeader)
	frame[0], frame[1] = unix.VIRTIO_NET_HDR_F_NEEDS_CSUM, unix.VIRTIO_NET_HDR_GSO_TCPV6
	if proto == 17 {
		frame[1] = unix.VIRTIO_NET_HDR_GSO_UDP_L4
	}
	binary.NativeEndian.PutUint16(frame[4:], uint16(size))
	return append(frame, transport(proto, seq, flags, 0, payload)...)
}

// TestVnetRuns: a run goes on with the next super-packet, but behind nothing that
// is shorter, ends the flow, or belongs to another.
func TestVnetRuns(t *testing.T) {
	const size = 100
	payload := func(n int) []byte { return bytes.Repeat([]byte{byte(n)}, n) }
	first := super(6, 1, 0x18, size, payload(3*size))
	next := func(at int, with byte) []byte {
		b := super(6, 1+3*size, 0x10, size, payload(2*size))
		b[vnetHeader+at] = with
		return b
	}
	udp := func(size int, payload []byte) []byte { return super(17, 0, 0, size, payload) }
	// Of packets of 148 bytes and of 98, the last 148 begin where another begins.
	forged := payload(150)
	copy(forged[50:], udp(size, nil)[vnetHeader:])
	lone := append(make([]byte, vnetHeader), transport(6, 1, 0x10, 0, payload(size))...)
	for name, test := range map[string]struct {
		frames [][]byte
		runs   []int // packets of each
	}{
		"same flow":          {[][]byte{first, next(7, 64), super(6, 501, 0x10, size, payload(200))}, []int{7}},
		"sent again":         {[][]byte{first, first}, []int{3, 3}},
		"another ECN":        {[][]byte{first, next(1, 0x30)}, []int{3, 2}},
		"another hop limit":  {[][]byte{first, next(7, 9)}, []int{5}},
		"another source":     {[][]byte{first, next(23, 0xfe)}, []int{3, 2}},
		"another port":       {[][]byte{first, next(43, 0xfe)}, []int{3, 2}},
		"UDP":                {[][]byte{udp(size, payload(200)), udp(size, payload(350))}, []int{6}},
		"UDP behind TCP":     {[][]byte{first, udp(size+12, payload(300))}, []int{3, 3}},
		"behind the end":     {[][]byte{super(6, 1, 0x11, size, payload(300)), next(7, 64)}, []int{3, 2}},
		"behind a short one": {[][]byte{super(6, 1, 0x10, size, payload(250)), next(7, 64)}, []int{3, 2}},
		"a short one last":   {[][]byte{first, super(6, 301, 0x10, size, payload(150)), next(7, 64)}, []int{5, 2}},
		"a shorter size":     {[][]byte{udp(size, payload(300)), udp(90, payload(180))}, []int{3, 2}},
		"as long as all":     {[][]byte{udp(26, payload(52)), udp(100, payload(200))}, []int{2, 2}},
		"as if not short":    {[][]byte{udp(size, forged), udp(size, payload(200))}, []int{2, 2}},
		"behind one":         {[][]byte{lone, super(6, 101, 0x10, size, payload(300))}, []int{4}},
		"no room":            {[][]byte{first, super(6, 301, 0x10, size, payload(1000))}, []int{10, 3}},
	} {
		d, kernel := newVnet(t)
		var want, got [][]byte
		for _, f := range test.frames {
			if _, err := unix.Write(kernel, f); err != nil {
				t.Fatal(err)
			}
			want = append(want, apart(t, f)...)
		}
		in := packet.NewBatch(4, packet.Headroom+10*160)
		n, err := d.read(in)
		if err != nil {
			t.Fatal(err)
		}
		var runs []int
		for i := range in[:n] {
			before := len(got)
			for b := range in[i].Datagrams() {
				got = append(got, bytes.Clone(b))
			}
			runs = append(runs, len(got)-before)
		}
		if !slices.Equal(runs, test.runs) || !slices.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("%s: runs of %v, want %v; or other packets", name, runs, test.runs)
		}
	}
}

// apart returns the packets of a frame on its own.
func apart(t *testing.T, frame []byte) (pkts [][]byte) {
	t.Helper()
	if frame[1] == 0 {
		return [][]byte{frame[vnetHeader:]}
	}
	var s segment.Splitter
	if err := s.Begin(frame[vnetHeader:], int(binary.NativeEndian.Uint16(frame[4:]))); err != nil {
		t.Fatal(err)
	}
	room := make([]byte, 1<<17)
	n, length, err := s.Next(room)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Collect(slices.Chunk(room[:n], length))
}
