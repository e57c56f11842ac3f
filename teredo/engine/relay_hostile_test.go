package engine_test

import (
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
)

// T-04, T-23, T-36: what may not pass is dropped, for the reason named.
func TestRelayDrops(t *testing.T) {
	client := peerAt(clientAt)
	ownV4 := relayOwn.As4()
	sixToFour := netip.AddrFrom16([16]byte{0x20, 0x02, ownV4[0], ownV4[1], ownV4[2], ownV4[3], 15: 1})
	isatap := netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, 1, 10: 0x5e, 11: 0xfe, 12: ownV4[0], 13: ownV4[1], 14: ownV4[2], 15: ownV4[3]})
	hops := func(b []byte, n byte) []byte { b[7] = n; return b }
	everybody := func(c *engine.RelayConfig) { c.Served = []netip.Prefix{netip.MustParsePrefix("2000::/3")} }
	for _, test := range []struct {
		name string
		why  engine.Drop
		b    []byte
	}{
		{"malformed", engine.DropSendMalformed, []byte{0x60}},
		{"too big", engine.DropSendTooBig, udp(native, client, 1281)},
		{"not for a client", engine.DropSendTarget, udp(native, addr("2001:db8:2::1"), 100)},
		{"multicast", engine.DropSendTarget, udp(native, addr("ff02::1"), 100)},
		{"from a client", engine.DropRelayLoop, udp(peerAt(peerPort), client, 100)},
		{"from our 6to4", engine.DropRelaySource, udp(sixToFour, client, 100)},
		{"from our ISATAP", engine.DropRelayLoop, udp(isatap, client, 100)},
		{"from a link", engine.DropRelaySource, udp(addr("fe80::1"), client, 100)},
		{"from nobody", engine.DropRelaySource, udp(addr("::"), client, 100)},
		{"last hop", engine.DropRelayHopLimit, hops(udp(native, client, 100), 1)},
		{"no hop", engine.DropRelayHopLimit, hops(udp(native, client, 100), 0)},
		{"to ourselves", engine.DropDenied, udp(native, peerAt(netip.AddrPortFrom(relayOwn, 40000)), 100)},
		{"to a private address", engine.DropDenied, udp(native, peerAt(addrPort("10.0.0.1:40000")), 100)},
		{"by way of a private server", engine.DropDenied, udp(native, wire.AddressFrom(addr("127.0.0.1"), 0, clientAt).Addr(), 100)},
		{"by way of ourselves", engine.DropDenied, udp(native, wire.AddressFrom(relayOwn, 0, clientAt).Addr(), 100)},
		{"to a service", engine.DropDeniedPort, udp(native, peerAt(addrPort("198.51.100.7:53")), 100)},
	} {
		t.Run("native, "+test.name, func(t *testing.T) {
			r := newRelay(t, everybody)
			r.expectDrop(t, test.why, func() []engine.Transmit { return r.send(test.b) })
		})
	}
	for _, test := range []struct {
		name string
		why  engine.Drop
		from netip.AddrPort
		b    []byte
	}{
		{"malformed", engine.DropMalformed, clientAt, []byte{0x60}},
		{"unknown header", engine.DropHeader, clientAt, []byte{0x45, 0}},
		{"native source", engine.DropInnerSource, clientAt, udp(native, native, 100)},
		{"another port", engine.DropMismatch, addrPort("198.51.100.7:40002"), udp(client, native, 100)},
		{"from a private address", engine.DropDenied, addrPort("10.0.0.1:40001"), udp(client, native, 100)},
		{"from ourselves", engine.DropDenied, netip.AddrPortFrom(relayOwn, 40001), udp(peerAt(netip.AddrPortFrom(relayOwn, 40001)), native, 100)},
		{"bubble of a stranger", engine.DropRelayUnknown, peerPort, wire.AppendBubble(nil, peerAt(peerPort), native, 0)},
		{"stranger, not for us", engine.DropRelayUnknown, peerPort, udp(peerAt(peerPort), addr("fe80::1"), 100)},
		{"to a client", engine.DropRelayLoop, clientAt, udp(client, peerAt(peerPort), 100)},
		{"to our 6to4", engine.DropRelayLoop, clientAt, udp(client, sixToFour, 100)},
		{"to our ISATAP", engine.DropRelayLoop, clientAt, udp(client, isatap, 100)},
		{"to nobody", engine.DropRelayTarget, clientAt, udp(client, addr("::1"), 100)},
		{"to a group", engine.DropRelayTarget, clientAt, udp(client, addr("ff0e::1"), 100)},
		{"to a private network", engine.DropRelayTarget, clientAt, udp(client, addr("fd00::1"), 100)},
		{"router advertisement", engine.DropDiscovery, clientAt, packet(client, native, wire.ProtoICMPv6, []byte{134, 0, 0, 0, 0, 0, 0, 0})},
		{"last hop", engine.DropRelayHopLimit, clientAt, hops(udp(client, native, 100), 1)},
	} {
		t.Run("tunnel, "+test.name, func(t *testing.T) {
			r := newRelay(t, everybody)
			r.connect(client, clientAt)
			r.expectDrop(t, test.why, func() []engine.Transmit { return r.receive(test.from, test.b) })
		})
	}
}

// T-29: a host-specific relay serves its host and nobody else.
func TestRelayServes(t *testing.T) {
	r := newRelay(t, func(c *engine.RelayConfig) { c.Served = []netip.Prefix{netip.PrefixFrom(native, 128)} })
	client, neighbour := peerAt(clientAt), native.Next()
	r.connect(client, clientAt)
	r.expectDrop(t, engine.DropRelaySource, func() []engine.Transmit { return r.send(udp(neighbour, client, 100)) })
	r.expectDrop(t, engine.DropRelayTarget, func() []engine.Transmit { return r.receive(clientAt, udp(client, neighbour, 100)) })
	if err := r.r.SetServed([]netip.Prefix{netip.PrefixFrom(neighbour, 128)}); err != nil {
		t.Fatal(err)
	}
	r.expectDrop(t, engine.DropRelaySource, func() []engine.Transmit { return r.send(udp(native, client, 100)) })
	if sent := r.send(udp(neighbour, client, 100)); len(sent) != 1 {
		t.Errorf("%v", r.r.Snapshot().Drops)
	}
	r.r.SetPolicy(engine.Policy{Inside: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}})
	r.expectDrop(t, engine.DropDenied, func() []engine.Transmit { return r.send(udp(neighbour, client, 100)) })
}

// T-29: bursts of 10,000 packets a second towards a victim bring it at most four bubbles
// of 40 bytes in 300 s, whether it is the client named or the server, with the
// cone bit or without, at one port or at all.
func TestRelayVictim(t *testing.T) {
	victim := addr("198.51.100.66")
	for name, dst := range map[string]func(i int) netip.Addr{
		"one client": func(int) netip.Addr { return wire.AddressFrom(victim, 0, netip.AddrPortFrom(victim, 40000)).Addr() },
		"cone": func(int) netip.Addr {
			return wire.AddressFrom(victim, wire.FlagCone, netip.AddrPortFrom(victim, 40000)).Addr()
		},
		"many ports": func(i int) netip.Addr {
			return wire.AddressFrom(victim, 0, netip.AddrPortFrom(victim, uint16(i))).Addr()
		},
		"many flags": func(i int) netip.Addr {
			return wire.AddressFrom(victim, uint16(i), netip.AddrPortFrom(victim, 40000)).Addr()
		},
		"many servers": func(i int) netip.Addr {
			return wire.AddressFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), uint16(i), netip.AddrPortFrom(victim, 40000)).Addr()
		},
		"many clients": func(i int) netip.Addr {
			return wire.AddressFrom(victim, 0, netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 40000)).Addr()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRelay(t, func(c *engine.RelayConfig) { c.Direct = true })
			total, hits := 0, 0
			count := func(sent []engine.Transmit) {
				for _, s := range sent {
					if total++; len(s.Payload) != 40 {
						t.Fatalf("sent %x", s.Payload)
					}
					if s.To.Addr() == victim {
						hits++
					}
				}
			}
			for i := range 300 * 100 {
				burst := 1
				if i%300 < 20 { // for 200 ms of every 3 s
					burst = 100
				}
				for k := range burst {
					count(r.send(udp(native, dst(i*100+k), 100)))
				}
				if i < 300*100-1 {
					count(r.pass(10 * time.Millisecond))
				}
			}
			if hits == 0 && name != "many servers" || hits > 4 {
				t.Errorf("%d bubbles to the victim, of %d", hits, total)
			}
		})
	}
}

// T-01, T-02: whatever addresses packets have in them, from either side, nothing
// goes to one that is denied, nor to a service before its host answered.
func TestRelayRandomAddresses(t *testing.T) {
	dice := rand.New(rand.NewPCG(4, 4))
	bad := []string{"10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.1.1", "172.16.0.1", "192.168.1.1", "192.0.0.1", "192.88.99.1", "224.0.0.1", "255.255.255.255", "0.0.0.1", "240.0.0.1"}
	draw := func() netip.AddrPort {
		ip := netip.AddrFrom4([4]byte{198, 18, byte(dice.Uint32()), byte(dice.Uint32())})
		if dice.IntN(2) == 0 {
			ip = addr(bad[dice.IntN(len(bad))])
		}
		return netip.AddrPortFrom(ip, uint16(dice.Uint32()))
	}
	r := newRelay(t, func(c *engine.RelayConfig) { c.Direct = true })
	sent := 0
	for range 50_000 {
		r.now = r.now.Add(50 * time.Millisecond)
		ap := draw()
		client := wire.AddressFrom(draw().Addr(), 0, ap).Addr()
		all := r.send(udp(native, client, 100))
		all = append(all, r.receive(ap, udp(client, native, 100))...)
		all = append(all, r.receive(ap, wire.AppendBubble(nil, client, native, 0))...)
		for _, s := range append(all, r.pass(0)...) {
			sent++
			if denied(s.To) || s.To.Port() < 1024 || s.To.Port() == 1900 {
				t.Fatalf("sent to %v", s.To)
			}
		}
		r.out.Reset()
	}
	if sent < 1000 {
		t.Errorf("only %d datagrams sent: the test is blind", sent)
	}
}

// T-20: a million forged packets, first from the tunnel and then from the
// native side, take no memory to speak of, cost a client in use nothing, and
// leave room for a new one.
func TestRelayFlood(t *testing.T) {
	n := times(1_000_000)
	r := newRelay(t, func(c *engine.RelayConfig) { c.Servers = []netip.Addr{peerServer.Addr()} })
	friend, fresh := peerAt(clientAt), peerAt(addrPort("198.51.100.8:40001"))
	r.connect(friend, clientAt)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	dice := rand.New(rand.NewPCG(5, 5))
	there, back := udp(native, friend, 100), udp(friend, native, 100)
	spoofed, stray := udp(friend, native, 1220), udp(native, friend, 1220)
	for i := range n {
		r.now = r.now.Add(10 * time.Microsecond) // 100,000 a second
		mapped := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(dice.Uint32()), byte(dice.Uint32())}), uint16(dice.Uint32())|0x8000)
		forged := wire.AddressFrom(netip.AddrFrom4([4]byte{198, 19, byte(dice.Uint32()), byte(dice.Uint32())}), uint16(dice.Uint32()), mapped).Addr().As16()
		if i < n/2 {
			copy(spoofed[8:], forged[:])
			r.r.Receive(r.now, mapped, spoofed, &r.out)
		} else {
			copy(stray[24:], forged[:])
			stray[7] = 64
			r.r.Send(r.now, stray, &r.out)
		}
		r.r.Tick(r.now, &r.out)
		r.out.Reset()
		if i%1000 == 0 {
			there[7], back[7] = 64, 64
			r.r.Send(r.now, there, &r.out)
			r.r.Receive(r.now, clientAt, back, &r.out)
			if len(r.out.Transmit) != 1 || len(r.out.Deliver) != 1 {
				t.Fatalf("a packet of the client in use was lost after %d: %+v", i, r.r.Snapshot())
			}
			r.out.Reset()
		}
	}
	s := r.r.Snapshot()
	grown := int64(heap()) - int64(before)
	t.Logf("%.1f MiB more, %d peers, %d bytes queued, %d bubbles", float64(grown)/(1<<20), s.PeersOther+s.PeersTrusted, s.Queued, s.Bubbles)
	if grown > 32<<20 || s.Queued > 4<<20 || s.PeersOther > 1<<14 {
		t.Errorf("%d bytes more, %+v", grown, s)
	}
	if sent := r.send(udp(native, fresh, 100)); len(sent) != 1 {
		t.Errorf("a new client got no bubble: %v", sent)
	}
}

// Strangers with one IPv4 address displace each other first.
func TestRelayOneHost(t *testing.T) {
	r := newRelay(t, nil)
	for i := range 1000 {
		r.send(udp(native, peerAt(netip.AddrPortFrom(clientAt.Addr(), uint16(40000+i))), 100))
	}
	if s := r.r.Snapshot(); s.PeersOther != 64 {
		t.Errorf("%d entries", s.PeersOther)
	}
}
