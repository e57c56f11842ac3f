package engine_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
)

// checkRelayed fails if the relay did with a call what it must not, whatever the
// bytes: T-01, T-04, T-08.
func checkRelayed(t *testing.T, out *engine.Output, trusted []netip.AddrPort, in int) {
	t.Helper()
	bytes := 0
	for _, s := range out.Transmit {
		bytes += len(s.Payload)
		if denied(s.To) || s.To.Addr() == relayOwn {
			t.Errorf("sent %d bytes to %v", len(s.Payload), s.To)
		}
		var d wire.Datagram
		if err := wire.Parse(s.Payload, &d); err != nil {
			t.Errorf("sent %x: %v", s.Payload, err)
		} else if !d.IPv6.IsBubble() && !slices.Contains(trusted, s.To) {
			t.Errorf("sent data to %v", s.To)
		}
	}
	for _, b := range out.Deliver {
		p := wire.Packet(b)
		src, srcTeredo := wire.AddressFromAddr(p.Source())
		_, dstTeredo := wire.AddressFromAddr(p.Destination())
		if !srcTeredo || dstTeredo || !served.Contains(p.Destination()) || p.IsBubble() || p.HopLimit() == 0 || src.Mapped().Addr() == relayOwn {
			t.Errorf("delivered %x", b)
		}
	}
	if len(out.Transmit) > 0 && in > 0 && float64(bytes) > 2.2*float64(max(in, wire.HeaderSize)) {
		t.Errorf("%d bytes for %d", bytes, in)
	}
}

// FuzzRelayReceive: any two datagrams, from a client in use, one that is tried,
// or anybody.
func FuzzRelayReceive(f *testing.F) {
	seeds := fuzzSeeds(native)
	seeds = append(seeds, udp(peerAt(clientAt), native, 60), udp(peerAt(clientAt), peerAt(peerPort), 60), wire.AppendBubble(nil, peerAt(peerPort), addr("fe80::1"), 0))
	for i, b := range seeds {
		f.Add(byte(i), uint32(0xc000020a), uint16(8192), b, seeds[(i+5)%len(seeds)])
	}
	f.Fuzz(func(t *testing.T, who byte, ip uint32, port uint16, first, second []byte) {
		r := newRelay(t, func(c *engine.RelayConfig) { c.Direct = who&0x40 != 0 })
		r.connect(peerAt(clientAt), clientAt)
		r.send(udp(native, peerAt(peerPort), 40))
		anybody := netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(ip >> 24), byte(ip >> 16), byte(ip >> 8), byte(ip)}), port)
		from := []netip.AddrPort{clientAt, peerPort, anybody}[int(who&0x3f)%3]
		for _, b := range [][]byte{first, second} {
			r.out.Reset()
			r.r.Receive(r.now, from, b, &r.out)
			checkRelayed(t, &r.out, []netip.AddrPort{clientAt, peerPort}, len(b))
			r.now = r.now.Add(100 * time.Millisecond)
		}
		r.out.Reset()
		r.pass(20 * time.Second)
		if n := r.r.Snapshot().Queued; n != 0 {
			t.Errorf("%d bytes queued", n)
		}
	})
}

// FuzzRelaySend: whatever comes from the native side, only a client in use is
// sent data.
func FuzzRelaySend(f *testing.F) {
	for _, dst := range []netip.Addr{peerAt(clientAt), peerAt(peerPort), native, addr("ff02::1"), peerAt(addrPort("10.0.0.1:80"))} {
		f.Add(true, udp(native, dst, 100))
		f.Add(false, udp(peerAt(peerPort), dst, 60))
	}
	f.Fuzz(func(t *testing.T, node bool, b []byte) {
		r := newRelay(t, func(c *engine.RelayConfig) { c.Direct = true })
		r.connect(peerAt(clientAt), clientAt)
		if node && len(b) >= wire.HeaderSize {
			src := native.As16()
			copy(b[8:24], src[:])
		}
		for range 2 {
			r.out.Reset()
			r.r.Send(r.now, b, &r.out)
			checkRelayed(t, &r.out, []netip.AddrPort{clientAt}, 0)
			r.now = r.now.Add(2 * time.Second)
			r.out.Reset()
			r.r.Tick(r.now, &r.out)
			checkRelayed(t, &r.out, nil, 0)
		}
	})
}
