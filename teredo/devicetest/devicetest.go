// Package devicetest is one suite for everything that a Teredo tunnel can end
// in: what teredo.Device promises, shown on the device and on the host behind
// it. It is for tests.
//
// The suite is the peer at the other end of the tunnel. It reads and writes
// packets that it makes and checks itself, with arithmetic of its own, and
// compares them with what the host's sockets send and receive: sizes from an
// empty datagram to 65,535 bytes, fragments, runs, buffers too small, neighbours
// that are damaged or not meant for the host, TCP in both directions with the
// rules for what is cut and joined (PSH and FIN on the last segment, CWR on the
// first), ECN marks, buffers that are spoilt the moment they are given back,
// closing, and the allocations of it all.
//
// [Memory] is a device whose host is the test itself, also for virtual time.
//
// Left out: speed, and what a device does beyond teredo.Device.
//
//	devicetest.Run(t, func(t *testing.T, mtu int) *devicetest.Host {
//		d := devicetest.NewMemory()
//		_ = d.SetAddr(devicetest.Addr)
//		return &devicetest.Host{Device: d, Socket: d.Socket(devicetest.Addr, devicetest.Port)}
//	})
package devicetest

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"shipworm/teredo/packet"
)

// Device is what is tested: teredo.Device.
type Device interface {
	ReadBatch(pkts []packet.Packet) (int, error)
	WriteBatch(pkts []packet.Packet) (int, error)
	SetAddr(addr netip.Addr) error
	Close() error
}

// Addr is the host's address, and Peer that of the suite.
var (
	Addr = netip.MustParseAddr("2001:0:cb00:7101:3023:317e:39cc:9bf5")
	Peer = netip.MustParseAddr("2001:0:cb00:7101:1001:aaaa:39cc:9beb")
)

// Port is where the host's sockets are, those of UDP and TCP.
const Port = 4000

// Host is a device with Addr, and the host behind it.
type Host struct {
	Device Device

	// Socket is a UDP socket of the host on Addr and Port. What Peer sends
	// there comes in.
	Socket net.PacketConn

	// Listener takes TCP connections to Port; nil if the host knows no TCP.
	Listener net.Listener

	// Runs says that TCP comes out of the device in runs.
	Runs bool

	// ReadAllocs and WriteAllocs are how many allocations a packet the device
	// may make, on average.
	ReadAllocs, WriteAllocs float64
}

// patience is how long the suite waits for anything.
const patience = time.Minute

// Run runs the suite. open makes a host on a link of mtu bytes, 1280 or 65535,
// each time a new one, and may leave closing the device to the suite.
func Run(t *testing.T, open func(t *testing.T, mtu int) *Host) {
	first := 10000 + rand.IntN(50000) // and each test has another port
	for i, test := range []struct {
		name string
		mtu  int
		run  func(*harness)
	}{
		{"out, sizes", 65535, (*harness).outSizes},
		{"out, fragments", 1280, (*harness).outFragments},
		{"out, no room", 65535, (*harness).outNoRoom},
		{"out, buffers", 1280, (*harness).outBuffers},
		{"out, TCP", 1280, (*harness).outTCP},
		{"out, TCP in packets of one", 1280, (*harness).outTCPSingle},
		{"out, reset", 1280, (*harness).outReset},
		{"in, sizes", 1280, (*harness).inSizes},
		{"in, fragments", 1280, (*harness).inFragments},
		{"in, mixed", 1280, (*harness).inMixed},
		{"in, TCP", 1280, (*harness).inTCP},
		{"both ways at once", 1280, (*harness).both},
		{"close", 1280, (*harness).close},
		{"close under load", 1280, (*harness).closeBusy},
		{"close twice at once", 1280, (*harness).closeTwice},
		{"allocations", 1280, (*harness).allocations},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := &harness{T: t, Host: open(t, test.mtu), mtu: test.mtu, peer: netip.AddrPortFrom(Peer, uint16(first+i)), seen: map[*byte]bool{}}
			t.Cleanup(func() { _ = h.Device.Close() })
			// Whatever hangs, ends: a closed device fails its reader.
			watchdog := time.AfterFunc(patience, func() { _ = h.Device.Close() })
			defer watchdog.Stop()
			_ = h.Socket.SetDeadline(time.Now().Add(patience))
			test.run(h)
		})
	}
}
