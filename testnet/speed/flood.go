//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"shipworm/teredo/wire"
)

const (
	floodPort = 40000

	// floodWindow is how many requests may be unanswered: as many as fit into
	// the receive buffer that a socket has by default. floodLost is how long
	// one waits for answers before they count as lost; a server that waits for
	// its processor must not be taken for one that lost something.
	floodWindow = 128
	floodLost   = 200 * time.Millisecond
	floodMute   = 5 * time.Second       // a server that answers nothing for as long is mute
	floodSettle = 20 * time.Millisecond // for what comes late
	floodBatch  = 64                    // datagrams a call at most
	floodLeast  = 16                    // and at least

	// Peers greet at a rate that any client keeps up with.
	greetBatch = 8
	greetEvery = 2 * time.Millisecond
	greetAgain = 128 // peers later
)

// A flood asks a server as fast as it answers. Every packet has another source
// of a million, all of which this host owns: no rate limit of a server stands
// between, and its table of them is under full load.
//
// In this laboratory a server's processor also does what an asker's would do
// with the answers. The socket keeps that short, the same for every server.
type flood struct {
	conn bareSocket
	next uint32 // source
	out  *mmsgs
	in   *mmsgs
	to   []unix.RawSockaddrInet4
}

// floodRole is a flood from the addresses of a prefix.
func floodRole(_ context.Context, _ []string) (string, map[string]func(order) (answer, error), error) {
	conn, err := newBareSocket(floodPort, wire.Port)
	if err != nil {
		return "", nil, err
	}
	f := &flood{conn: conn, to: make([]unix.RawSockaddrInet4, floodBatch)}
	f.out = rawMmsgs(conn, floodBatch, 256, unix.CmsgSpace(unix.SizeofInet4Pktinfo))
	f.in = rawMmsgs(conn, floodBatch, 512, 0)
	for i := range floodBatch {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&f.out.oob[i][0]))
		h.Level, h.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
		h.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
		f.out.setTo(i, &f.to[i])
	}
	return "", map[string]func(order) (answer, error){"solicit": f.solicit, "bubble": f.bubble, "greet": f.greet}, nil
}

// source sets another source of a datagram and returns it.
func (f *flood) source(i int) netip.AddrPort {
	f.next++
	return f.from(i, f.next-1)
}

// from sets the n-th source of all.
func (f *flood) from(i int, n uint32) netip.AddrPort {
	ip := sourceAt(n)
	info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&f.out.oob[i][unix.CmsgLen(0)]))
	info.Spec_dst = ip.As4()
	return netip.AddrPortFrom(ip, floodPort)
}

// sourceAt returns the n-th address of the sources, which come round.
func sourceAt(n uint32) netip.Addr {
	p := netip.MustParsePrefix(sources)
	base := p.Addr().As4()
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(base[:])+n%(1<<(32-p.Bits())))
	return netip.AddrFrom4(b)
}

// aim prepares the batch: contents and a destination.
func (f *flood) aim(packet []byte, to netip.AddrPort) {
	for i := range floodBatch {
		f.out.setLen(i, copy(f.out.bufs[i], packet))
		f.to[i] = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: to.Addr().As4()}
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&f.to[i].Port))[:], to.Port())
	}
}

// solicit asks the server at o.To for advertisements.
func (f *flood) solicit(o order) (answer, error) {
	b := wire.AppendNonce(nil, [8]byte{1, 2, 3, 4, 5, 6, 7, 8})
	b = wire.AppendSolicitation(b, wire.ClientLinkLocal(false))
	return f.run(o, b, func(i int) { f.source(i) })
}

// bubble has the server at o.To forward bubbles, from one of our addresses to
// the next.
func (f *flood) bubble(o order) (answer, error) {
	srv, err := netip.ParseAddr(o.To)
	if err != nil {
		return answer{}, err
	}
	any := wire.AddressFrom(srv, 0, netip.AddrPortFrom(sourceAt(0), floodPort)).Addr()
	return f.run(o, wire.AppendBubble(nil, any, any, 0), func(i int) {
		// The last four bytes of either address are those of IPv4, inverted.
		src, dst := f.source(i).Addr().As4(), sourceAt(f.next).As4()
		for k := range 4 {
			f.out.bufs[i][20+k], f.out.bufs[i][36+k] = ^src[k], ^dst[k]
		}
	})
}

// run keeps a window of requests open for o.For and counts the answers.
func (f *flood) run(o order, packet []byte, vary func(i int)) (a answer, err error) {
	srv, err := netip.ParseAddr(o.To)
	if err != nil {
		return a, err
	}
	f.aim(packet, netip.AddrPortFrom(srv, wire.Port))
	if awake, err := f.rouse(vary); !awake || err != nil {
		return a, err
	}
	open, seen := 0, f.conn.counted()
	began := time.Now()
	heard := began // of an answer
	for now, end := began, began.Add(o.For); now.Before(end); now = time.Now() {
		if n := min(floodWindow-open, floodBatch); n >= floodLeast {
			for i := range n {
				vary(i)
			}
			sent, err := f.out.send(n)
			if err != nil {
				return a, err
			}
			open += sent
			a.Sources += int64(sent)
		}
		got := int(f.conn.counted() - seen)
		switch {
		case got > 0:
			heard = now
		case now.Sub(heard) > floodLost:
			open, heard = 0, now
		default:
			f.conn.yield()
		}
		seen += uint32(got)
		a.Packets += int64(got)
		open = max(0, open-got)
	}
	a.Took = time.Since(began)
	time.Sleep(floodSettle) // what comes late is not the next run's
	return a, nil
}

// rouse asks until there is an answer: a server that has not had its processor
// yet is not to be measured. It reports whether there was one.
func (f *flood) rouse(vary func(i int)) (awake bool, err error) {
	seen := f.conn.counted()
	for end := time.Now().Add(floodMute); time.Now().Before(end); {
		vary(0)
		if _, err := f.out.send(1); err != nil {
			return false, err
		}
		time.Sleep(floodSettle)
		if f.conn.counted() != seen {
			return true, nil
		}
	}
	return false, nil
}

// greet has o.Count peers, each a Teredo client of its own, ping the client
// whose Teredo address is o.To twice: the second time they have its answer, and
// are proven to it. It returns how many answers there were.
func (f *flood) greet(o order) (a answer, err error) {
	to, err := wire.ParseAddress(o.To)
	if err != nil {
		return a, err
	}
	ping := func(n uint32) error {
		own := wire.AddressFrom(to.Server(), 0, f.from(0, n))
		b, err := wire.AppendEcho(nil, &wire.Echo{Src: own.Addr(), Dst: to.Addr(), HopLimit: 64, Data: make([]byte, 8)})
		if err != nil {
			return err
		}
		f.aim(b, to.Mapped())
		_, err = f.out.send(1)
		return err
	}
	for i := range o.Count + greetAgain {
		if i < o.Count {
			err = ping(uint32(i))
		}
		if i >= greetAgain && err == nil {
			err = ping(uint32(i - greetAgain))
		}
		if err != nil {
			return a, err
		}
		if i%greetBatch == 0 {
			time.Sleep(greetEvery)
			a.Packets += f.drain()
		}
	}
	time.Sleep(floodSettle)
	a.Packets += f.drain()
	return a, nil
}

// drain takes what has come and returns how much.
func (f *flood) drain() (sum int64) {
	for {
		n, err := f.in.receive(false)
		if n == 0 || err != nil {
			return sum
		}
		sum += int64(n)
	}
}
