package server

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"shipworm/natprobe/message"
)

// pair is two hosts of one address each that act as one server.
func pair(t testing.TB) (a, b *Machine) {
	key := bytes.Repeat([]byte{7}, 32)
	inside := func(n byte) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 0, n}), 0)
	}
	a = machine(t, Config{Listen: []netip.Addr{a1}, Peer: &Peer{Public: a2, Addr: inside(2), Key: key}})
	b = machine(t, Config{Listen: []netip.Addr{a2}, Peer: &Peer{Public: a1, Addr: inside(1), Key: key}})
	return a, b
}

// greet lets both say hello.
func greet(t testing.TB, now time.Time, from, to *Machine) {
	t.Helper()
	out, next := from.Tick(now)
	if len(out) != 1 || out[0].From != PeerSocket || out[0].To.Port() != DefaultPeerPort || next != now.Add(helloEvery) {
		t.Fatalf("hello %+v, next %v", out, next)
	}
	if _, ok := to.Receive(now, PeerSocket, client, out[0].Data); ok {
		t.Fatal("a hello is answered")
	}
}

// TestPairIsOneServer: whatever a client asks two hosts, they answer as one
// host with two addresses does.
func TestPairIsOneServer(t *testing.T) {
	a, b := pair(t)
	greet(t, began, a, b)
	greet(t, began, b, a)
	hosts := []*Machine{a, b}
	client := client
	for host, m := range hosts {
		for port := range Socket(2) {
			for flags := range 4 {
				for _, req := range []message.Message{
					{ID: message.NewID()}, {ID: classic()}, {ID: message.NewID(), Padding: 500}, {ID: message.NewID(), ResponsePort: 5000},
				} {
					client = at(client.Addr(), client.Port()+1) // no rate is exceeded
					req.ChangeIP, req.ChangePort = flags&2 != 0, flags&1 != 0
					now := began.Add(time.Second)
					single := two(t)
					want, _ := single.Receive(now, Socket(host)*OtherAddress|port, client, req.Append(nil))
					got, ok := m.Receive(now, port, client, req.Append(nil))
					sender := host
					if ok && got.From == PeerSocket {
						sender = 1 - host
						if len(got.Data) != noteSize {
							t.Fatalf("a note of %d bytes", len(got.Data))
						}
						got, ok = hosts[sender].Receive(now, PeerSocket, client, got.Data)
					}
					if !ok {
						t.Fatalf("no answer to %+v", req)
					}
					got.From |= Socket(sender) * OtherAddress
					if got.From != want.From || got.To != want.To || !bytes.Equal(got.Data, want.Data) {
						t.Errorf("host %d port %d %+v:\ngot  %+v\nwant %+v", host, port, req, got, want)
					}
				}
			}
		}
	}
}

// TestPeerGone: without its peer the server has one address, and says so.
func TestPeerGone(t *testing.T) {
	a, b := pair(t)
	for _, c := range []struct {
		after time.Duration
		two   bool
	}{{0, false}, {time.Second, true}, {peerGone - time.Millisecond, true}, {peerGone, false}} {
		now := began.Add(c.after)
		if c.after == time.Second {
			now = began
			greet(t, now, b, a)
		}
		_, plain := ask(t, a, now, 0, client, message.Message{ID: message.NewID()})
		if plain == nil || plain.Other.IsValid() != c.two {
			t.Errorf("after %v: %+v", c.after, plain)
		}
		p, refused := ask(t, a, now, 0, client, message.Message{ID: message.NewID(), ChangeIP: true})
		if c.two != (p.From == PeerSocket) || !c.two && (refused == nil || refused.Code != 420) {
			t.Errorf("after %v: %+v, %+v", c.after, p, refused)
		}
	}
}

// TestForgedNotes: one mutation for each thing that makes a note the peer's.
func TestForgedNotes(t *testing.T) {
	a, b := pair(t)
	greet(t, began, b, a)
	p, _ := ask(t, a, began, 0, client, message.Message{ID: message.NewID(), ChangeIP: true})
	good := p.Data
	try := func(name string, m *Machine, now time.Time, data []byte, want bool) {
		t.Helper()
		before := m.Counters().Forged
		_, ok := m.Receive(now, PeerSocket, client, data)
		if ok != want || (m.Counters().Forged == before) != want {
			t.Errorf("%s: answered %v, %+v", name, ok, m.Counters())
		}
	}
	try("as it is", b, began, good, true)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		try("one bit", b, began, bad, false)
	}
	try("short", b, began, good[:noteSize-1], false)
	try("long", b, began, append(bytes.Clone(good), 0), false)
	try("sent back", a, began, good, false)
	try("late", b, began.Add(MaxSkew+time.Second), good, false)
	try("early", b, began.Add(-MaxSkew-time.Second), good, false)
	try("within the skew", b, began.Add(MaxSkew-time.Second), good, true)
	try("a client's request", b, began, (&message.Message{ID: message.NewID()}).Append(nil), false)

	c := b.cfg
	c.OtherPort = 4000
	try("other ports", machine(t, c), began, good, false)
	c = b.cfg
	peer := *c.Peer
	peer.Key = bytes.Repeat([]byte{8}, 32)
	c.Peer = &peer
	try("other key", machine(t, c), began, good, false)
}

// TestReplayIsLimited: a captured note does not make the peer a flood.
func TestReplayIsLimited(t *testing.T) {
	a, b := pair(t)
	greet(t, began, b, a)
	p, _ := ask(t, a, began, 0, client, message.Message{ID: message.NewID(), ChangeIP: true})
	got := 0
	for i := range 10_000 {
		if _, ok := b.Receive(began.Add(time.Duration(i)*time.Millisecond), PeerSocket, client, p.Data); ok {
			got++
		}
	}
	if got > 40+10*20 {
		t.Errorf("%d answers to one client in 10 s", got)
	}
}

// FuzzNote: what opens is what was sealed, and nothing panics.
func FuzzNote(f *testing.F) {
	k := noteKey{key: bytes.Repeat([]byte{7}, 32), sender: a1, ports: [2]uint16{1, 2}}
	n := note{kind: noteAnswer, flags: 3, at: began, client: client, port: 5, padding: 6, id: classic()}
	f.Add(k.seal(n)[:noteBody])
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) != noteBody {
			body = append(body, make([]byte, noteBody)...)[:noteBody]
		}
		copy(body, noteMagic)
		n, err := k.open(began, append(body, k.mac(body)...))
		if err != nil {
			return
		}
		again, err := k.open(began, k.seal(n))
		if err != nil || again != n {
			t.Errorf("%+v, then %+v, %v", n, again, err)
		}
	})
}
