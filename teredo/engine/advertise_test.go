package engine_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
)

// badAdvertisement breaks one condition of T-11.
type badAdvertisement struct {
	name   string
	from   netip.AddrPort
	after  time.Duration
	change func([]byte) []byte // of a good one's payload
	drop   engine.Drop
}

func badAdvertisements() []badAdvertisement {
	reseal := func(b []byte) []byte {
		p := wire.Packet(b[wire.NonceSize+wire.OriginSize:])
		p[42], p[43] = 0, 0
		binary.BigEndian.PutUint16(p[42:], wire.ChecksumICMPv6(p.Source(), p.Destination(), p.Payload()))
		return b
	}
	const ip = wire.NonceSize + wire.OriginSize
	set := func(at int, v byte) func([]byte) []byte {
		return func(b []byte) []byte { b[at] = v; return reseal(b) }
	}
	origin := func(ap string) func([]byte) []byte {
		return func(b []byte) []byte {
			copy(b[wire.NonceSize:], wire.AppendOrigin(nil, addrPort(ap)))
			return b
		}
	}
	same := func(b []byte) []byte { return b }
	return []badAdvertisement{
		{"source address", addrPort("203.0.113.9:3544"), 0, same, engine.DropRASource},
		{"source port", addrPort("203.0.113.1:3545"), 0, same, engine.DropRASource},
		{"secondary not asked", addrPort("203.0.113.2:3544"), 0, same, engine.DropRANonce},
		{"no authentication", serverPort, 0, func(b []byte) []byte { return b[wire.NonceSize:] }, engine.DropRANonce},
		{"nonce", serverPort, 0, func(b []byte) []byte { b[4]++; return b }, engine.DropRANonce},
		{"late", serverPort, 13 * time.Second, same, engine.DropRANonce},
		{"confirmation", serverPort, 0, func(b []byte) []byte { b[12] = 1; return b }, engine.DropRAConfirmation},
		{"no origin", serverPort, 0, func(b []byte) []byte { return slices.Concat(b[:wire.NonceSize], b[ip:]) }, engine.DropRAOrigin},
		{"origin private", serverPort, 0, origin("10.0.0.1:40001"), engine.DropRAOrigin},
		{"origin port 0", serverPort, 0, origin("198.51.100.7:0"), engine.DropRAOrigin},
		{"origin port 53", serverPort, 0, origin("198.51.100.7:53"), engine.DropRAOrigin},
		{"destination", serverPort, 0, set(ip+39, 0xff), engine.DropRADestination},
		{"hop limit", serverPort, 0, set(ip+7, 254), engine.DropRAInvalid},
		{"code", serverPort, 0, set(ip+41, 1), engine.DropRAInvalid},
		{"checksum", serverPort, 0, func(b []byte) []byte { b[ip+42]++; return b }, engine.DropRAInvalid},
		{"two prefixes", serverPort, 0, func(b []byte) []byte {
			b = append(b, b[ip+56:ip+88]...)
			b[ip+5] += 32
			return reseal(b)
		}, engine.DropRAInvalid},
		{"prefix length", serverPort, 0, set(ip+58, 96), engine.DropRAInvalid},
		{"prefix of another server", serverPort, 0, set(ip+79, 9), engine.DropRAServer},
		{"MTU 1279", serverPort, 0, func(b []byte) []byte { b[ip+94], b[ip+95] = 4, 0xff; return reseal(b) }, engine.DropRAInvalid},
		{"global source", serverPort, 0, set(ip+8, 0x20), engine.DropRAInvalid},
	}
}

// T-11: an advertisement that breaks one condition changes nothing; the same
// one unbroken qualifies.
func TestAdvertisementConditions(t *testing.T) {
	for _, test := range badAdvertisements() {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, func(c *engine.ClientConfig) { c.Secondary = secondary })
			rs := r.begin()[0]
			r.now = r.now.Add(test.after)
			r.expectDrop(t, test.drop, func() []engine.Transmit {
				return r.receive(test.from, test.change(r.advertise(rs, mapping)))
			})
			if test.after == 0 {
				r.receive(serverPort, r.advertise(rs, mapping))
				if s := r.c.Snapshot(); s.State != engine.Ready || s.Mapped != mapping {
					t.Errorf("unchanged: %v at %v, %v", s.State, s.Mapped, s.Drops)
				}
			}
		})
	}
}

// T-12: a nonce is fresh for each solicitation, serves once, and only the last
// four are outstanding.
func TestNonces(t *testing.T) {
	r := newRig(t, nil)
	rs := append(r.begin(), r.pass(11600*time.Millisecond)...)
	if len(rs) != 6 {
		t.Fatalf("%d solicitations, want 6", len(rs))
	}
	seen := map[string]bool{}
	for _, s := range rs {
		seen[string(s.Payload[4:12])] = true
	}
	if len(seen) != 6 {
		t.Errorf("%d different nonces of 6", len(seen))
	}
	r.expectDrop(t, engine.DropRANonce, func() []engine.Transmit { return r.receive(serverPort, r.advertise(rs[1], mapping)) })
	r.receive(serverPort, r.advertise(rs[2], mapping))
	if r.c.Snapshot().State != engine.Ready {
		t.Fatal("the fourth last nonce was refused")
	}
	r.expectDrop(t, engine.DropRANonce, func() []engine.Transmit {
		return r.receive(serverPort, r.advertise(rs[2], addrPort("198.51.100.7:50000")))
	})
}

// T-27: 12 random flag bits, all others 0.
func TestFlags(t *testing.T) {
	seen := map[uint16]bool{}
	r := newRig(t, nil)
	rs := r.begin()[0]
	for i := range 100_000 {
		m := netip.AddrPortFrom(mapping.Addr(), uint16(12000+i%50_000))
		r.receive(serverPort, r.advertise(rs, m))
		a := r.c.Snapshot().Address
		if a.Mapped() != m {
			t.Fatalf("address %d holds %v, want %v", i, a.Mapped(), m)
		}
		if a.Flags()&^wire.FlagsRandom != 0 {
			t.Fatalf("flags %#x", a.Flags())
		}
		seen[a.Flags()] = true
		r.out.Reset()
		r.c.LinkChanged(r.now, &r.out)
		rs = r.take()[0]
	}
	if len(seen) != 4096 {
		t.Errorf("%d values of 4096", len(seen))
	}
}

// failing stops giving randomness after n bytes.
type failing struct{ n int }

func (f *failing) Read(b []byte) (int, error) {
	if f.n < len(b) {
		return 0, errors.New("no randomness")
	}
	f.n -= len(b)
	return len(b), nil
}

// Without randomness nothing is sent: a guessable nonce is worse than none.
func TestNoRandomness(t *testing.T) {
	if _, err := engine.NewClient(engine.ClientConfig{Server: primary, Rand: &failing{20}}); err == nil {
		t.Error("a client without a key was made")
	}
	r := newRig(t, func(c *engine.ClientConfig) { c.Rand = &failing{16 + 2*32 + 2} })
	if sent := r.begin(); len(sent) != 0 || r.drops(engine.DropRandom) != 1 {
		t.Errorf("sent %v", sent)
	}
}

// The configuration's problems are all reported.
func TestClientConfig(t *testing.T) {
	_, err := engine.NewClient(engine.ClientConfig{Server: addr("10.0.0.1"), Secondary: addr("::1"), Refresh: time.Hour, Peers: 1})
	if err == nil {
		t.Fatal("accepted")
	}
	if n := bytes.Count([]byte(err.Error()), []byte("\n")); n != 3 {
		t.Errorf("%d lines of problems, want 4: %v", n+1, err)
	}
}
