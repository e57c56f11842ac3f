package engine_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
)

// localRig is a client on 192.168.1.0/24 behind 198.51.100.7 with local
// discovery, and its first announcement.
func localRig(t *testing.T, host string, mapped netip.AddrPort, seed uint64) (*rig, engine.Transmit) {
	t.Helper()
	r := newRig(t, func(c *engine.ClientConfig) {
		c.LocalDiscovery, c.Rand = true, seeded(seed)
		c.Policy = engine.Policy{Own: []netip.Addr{addr(host)}, Inside: []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24")}}
	})
	rs := r.begin()
	r.receive(serverPort, r.advertise(rs[0], mapped))
	r.own = r.c.Snapshot().Address.Addr()
	for _, s := range r.pass(0) {
		if s.To == engine.LocalGroup() {
			return r, s
		}
	}
	t.Fatal("not announced")
	return nil, engine.Transmit{}
}

func (r *rig) local(from netip.AddrPort, payload []byte) []engine.Transmit {
	r.c.ReceiveLocal(r.now, from, payload, &r.out)
	return r.take()
}

var (
	hereA, hereB = addrPort("192.168.1.2:50001"), addrPort("192.168.1.3:50002")
	outA, outB   = addrPort("198.51.100.7:40001"), addrPort("198.51.100.7:40002")
)

// RFC 4380, 5.2.8: two clients on one link hear each other's announcements and
// go on straight, without any server.
func TestLocalDiscovery(t *testing.T) {
	a, fromA := localRig(t, "192.168.1.2", outA, 7)
	b, _ := localRig(t, "192.168.1.3", outB, 8)
	if fromA.TTL != 1 || len(fromA.Payload) != wire.HeaderSize || fromA.Payload[7] != 1 {
		t.Errorf("announcement %+v", fromA)
	}
	type letter struct {
		to *rig
		engine.Transmit
	}
	post := func(to *rig, sent []engine.Transmit) (l []letter) {
		for _, s := range sent {
			l = append(l, letter{to, s})
		}
		return l
	}
	exchange := func(queue []letter) {
		for n := 0; len(queue) > 0; n++ {
			if n == 20 {
				t.Fatal("they do not come to an end")
			}
			l := queue[0]
			queue = queue[1:]
			from, back := hereA, a
			if l.to == a {
				from, back = hereB, b
			}
			switch l.To {
			case engine.LocalGroup():
				queue = append(queue, post(back, l.to.local(from, l.Payload))...)
			case hereA, hereB:
				queue = append(queue, post(back, l.to.receive(from, l.Payload))...)
			default:
				t.Errorf("sent to %v", l.To)
			}
		}
	}
	exchange(post(a, b.local(hereA, fromA.Payload)))
	for _, r := range []*rig{a, b} {
		other, at := b, hereB
		if r == b {
			other, at = a, hereA
		}
		sent := r.send(udp(r.own, other.own, 100))
		if i := len(sent) - 1; i < 0 || bytesTo(sent[i:], at) != 100 {
			t.Errorf("sent %v: %v", sent, r.c.Snapshot().Drops)
		}
		exchange(post(other, sent)) // T-30: they prove themselves on the link
		for range 10 {
			if sent := r.send(udp(r.own, other.own, 1280)); len(sent) != 1 || sent[0].To != at {
				t.Errorf("sent %v", sent)
			}
		}
	}
}

// Announcements are 200 s to 300 s apart, and end with the address.
func TestLocalAnnouncements(t *testing.T) {
	r, _ := localRig(t, "192.168.1.2", outA, 7)
	begin, last, n := r.now, r.now, 0
	for r.now.Sub(begin) < time.Hour {
		for _, s := range r.pass(time.Second) {
			switch s.To {
			case engine.LocalGroup():
				if gap := r.now.Sub(last); gap < 199*time.Second || gap > 301*time.Second {
					t.Errorf("gap of %v", gap)
				}
				last = r.now
				n++
			case serverPort:
				if r.now.Sub(begin) < 50*time.Minute {
					r.receive(serverPort, r.advertise(s, outA))
				}
			}
		}
	}
	if n < 10 || n > 18 || r.c.Snapshot().Address.IsValid() || r.now.Sub(last) < 5*time.Minute {
		t.Errorf("%d announcements, the last %v before the end", n, r.now.Sub(last))
	}
}

// T-31: off by default; nothing but the announcement of a client behind our NAT
// on our link counts, 16 of them at most, and none by unicast.
func TestLocalRefused(t *testing.T) {
	peer := wire.AddressFrom(primary, 0x1234, outB).Addr()
	bubble := func(src, dst netip.Addr) []byte { return wire.AppendBubble(nil, src, dst, 1) }
	group := wire.AllNodes()
	good := bubble(peer, group)
	for _, test := range []struct {
		name string
		from netip.AddrPort
		b    []byte
	}{
		{"source not Teredo", hereB, bubble(native, group)},
		{"mapped private", hereB, bubble(peerAt(addrPort("10.0.0.1:40002")), group)},
		{"mapped port 53", hereB, bubble(peerAt(addrPort("198.51.100.7:53")), group)},
		{"another NAT", hereB, bubble(peerAt(addrPort("198.51.100.8:40002")), group)},
		{"our own mapping", hereB, bubble(peerAt(outA), group)},
		{"another link", addrPort("192.168.2.3:50002"), good},
		{"the Internet", outB, good},
		{"ourselves", addrPort("192.168.1.2:50002"), good},
		{"service port", addrPort("192.168.1.3:53"), good},
		{"not to all nodes", hereB, bubble(peer, addr("ff02::2"))},
		{"data", hereB, udp(peer, group, 60)},
		{"trailer", hereB, wire.AppendTrailers(slices.Clone(good), &wire.Trailers{RandomPort: 5000})},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, _ := localRig(t, "192.168.1.2", outA, 7)
			r.expectDrop(t, engine.DropLocal, func() []engine.Transmit { return r.local(test.from, test.b) })
		})
	}
	t.Run("off", func(t *testing.T) {
		r := qualifiedRig(t)
		for _, s := range r.pass(10 * time.Minute) {
			if s.To == engine.LocalGroup() {
				t.Fatal("announced")
			}
		}
		r.expectDrop(t, engine.DropNotQualified, func() []engine.Transmit { return r.local(hereB, good) })
	})
	t.Run("by unicast", func(t *testing.T) {
		r, _ := localRig(t, "192.168.1.2", outA, 7)
		r.expectDrop(t, engine.DropNotOurs, func() []engine.Transmit { return r.receive(hereB, good) })
		r.expectDrop(t, engine.DropDenied, func() []engine.Transmit { return r.receive(hereB, bubble(peer, r.own)) })
	})
	t.Run("many", func(t *testing.T) {
		r, _ := localRig(t, "192.168.1.2", outA, 7)
		first := wire.AddressFrom(primary, 0, addrPort("198.51.100.7:41000")).Addr()
		for i := range 40 {
			r.now = r.now.Add(time.Second)
			ap := netip.AddrPortFrom(outA.Addr(), uint16(41000+i))
			r.local(hereB, bubble(wire.AddressFrom(primary, 0, ap).Addr(), group))
		}
		r.expectDrop(t, engine.DropDenied, func() []engine.Transmit { return r.receive(hereB, bubble(first, r.own)) })
	})
	t.Run("flood", func(t *testing.T) {
		r, _ := localRig(t, "192.168.1.2", outA, 7)
		n := 0
		for range 10_000 {
			n += len(r.local(hereB, good))
		}
		if n == 0 || n > 50 {
			t.Errorf("%d answers to 10,000 announcements", n)
		}
	})
}
