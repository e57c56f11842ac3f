package engine_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"strings"
	"testing"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
)

// frame is a datagram of the captured Miredo session.
type frame struct {
	from, to netip.AddrPort
	payload  []byte
}

// session returns the captured frames by number: two Miredo clients A and B of
// one server, a relay, and a native node.
func session(t *testing.T) map[string]frame {
	t.Helper()
	data, err := os.ReadFile("../wire/testdata/miredo-session.tsv")
	if err != nil {
		t.Fatal(err)
	}
	frames := map[string]frame{}
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		frames[f[0]] = frame{addrPort(f[2] + ":" + f[3]), addrPort(f[4] + ":" + f[5]), unhex(t, f[6])}
	}
	return frames
}

// Our server answers and forwards what it got in the session byte for byte as
// miredo-server did.
func TestServerLikeMiredoServer(t *testing.T) {
	frames := session(t)
	r := newServer(t, func(c *engine.ServerConfig) { c.Secondary = addr("203.0.113.2") })
	for _, pair := range [][2]string{{"1", "2"}, {"3", "4"}, {"6", "7"}, {"16", "17"}, {"29", "30"}, {"46", "47"}} {
		in, want := frames[pair[0]], frames[pair[1]]
		sent, _ := r.receive(0, in.from, in.payload)
		if len(sent) != 1 || sent[0].To != want.to || !bytes.Equal(sent[0].Payload, want.payload) {
			t.Errorf("frame %s answered with %v\nwant %x to %v", pair[0], sent, want.payload, want.to)
		}
	}
	for _, test := range []string{"13", "33"} {
		if _, native := r.receive(0, frames[test].from, frames[test].payload); len(native) != 1 {
			t.Errorf("connectivity test in frame %s not passed on: %v", test, r.s.Snapshot().Drops)
		}
	}
}

// script yields fixed flags after the seed, key, identifier and nonce of a
// client's start.
type script struct {
	read  int
	flags uint16
}

func (s *script) Read(b []byte) (int, error) {
	if s.read == 16+32+32+2+8 {
		binary.BigEndian.PutUint16(b, s.flags)
	}
	s.read += len(b)
	return len(b), nil
}

// Our client in the place of Miredo's client B does what that one did: answers
// the bubble of A with its addresses swapped, then talks to A; answers the
// relay, tests the native node, and talks to it.
func TestClientLikeMiredoClient(t *testing.T) {
	frames := session(t)
	b, a, relay := frames["4"].to, frames["9"].from, frames["29"].from
	r := newRig(t, func(c *engine.ClientConfig) { c.Rand = &script{flags: 0x2818} })
	r.receive(serverPort, r.advertise(r.begin()[0], b))
	if got := r.c.Snapshot().Address.String(); got != "2001:0:cb00:7101:2818:f1db:39cc:9beb" {
		t.Fatalf("address %v", got)
	}
	expectBubble := func(in, want string) {
		t.Helper()
		sent := r.receive(frames[in].from, frames[in].payload)
		if len(sent) != 1 || sent[0].To != frames[want].to {
			t.Fatalf("frame %s answered with %v, %v", in, sent, r.c.Snapshot().Drops)
		}
		got := sent[0].Payload
		got[7] = frames[want].payload[7] // the hop limit is ours
		if !bytes.Equal(got, frames[want].payload) {
			t.Errorf("frame %s answered with %x\nwant %x", in, got, frames[want].payload)
		}
	}
	expectBubble("7", "8")
	for _, pair := range [][2]string{{"9", "10"}, {"11", "12"}} {
		r.receive(a, frames[pair[0]].payload)
		if r.delivered() != 1 {
			t.Fatalf("frame %s not delivered: %v", pair[0], r.c.Snapshot().Drops)
		}
		// Before the first one, an echo request asks A to prove that it is there.
		sent := r.send(frames[pair[1]].payload)
		if i := len(sent) - 1; i < 0 || i > 1 || sent[i].To != a || !bytes.Equal(sent[i].Payload, frames[pair[1]].payload) {
			t.Errorf("frame %s sent as %v", pair[1], sent)
		}
	}
	expectBubble("30", "31")
	ping := r.receive(relay, frames["32"].payload)
	if len(ping) != 1 || ping[0].To != serverPort || r.delivered() != 0 {
		t.Fatalf("native packet: sent %v", ping)
	}
	r.receive(relay, reply(t, ping[0].Payload))
	if r.delivered() != 1 {
		t.Fatalf("native packet not delivered: %v", r.c.Snapshot().Drops)
	}
	if sent := r.send(frames["37"].payload); len(sent) != 1 || sent[0].To != relay {
		t.Errorf("frame 37 sent as %v", sent)
	}
}

// As initiator towards a Miredo client our bubbles are such that it answers
// straight to us: a plain IPv6 packet that ends in the bubble's header.
func TestBubblesForMiredo(t *testing.T) {
	r := qualifiedRig(t)
	peer := peerAt(peerPort)
	sent := r.send(udp(r.own, peer, 100))
	var d wire.Datagram
	for i, s := range sent {
		if err := wire.Parse(s.Payload, &d); err != nil || !d.IPv6.IsBubble() || d.HasAuth || d.Origin.IsValid() || d.IPv6.Destination() != peer {
			t.Errorf("bubble %d: %x, %v", i, s.Payload, err)
		}
	}
	if len(sent) != 2 || len(sent[1].Payload) > 40+40 {
		t.Errorf("sent %v: the server must get a bubble with at most 40 bytes of trailers", sent)
	}
}
