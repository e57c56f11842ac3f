package engine_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
)

var alice = engine.Credential{ID: "alice", Key: []byte("0123456789abcdef")}

// securePair is a client and a server that both know alice's key, and the
// client's first solicitation.
func securePair(t *testing.T) (*rig, *serverRig, engine.Transmit) {
	r := newRig(t, func(c *engine.ClientConfig) { c.Credential = alice })
	s := newServer(t, func(c *engine.ServerConfig) {
		c.Clients = []engine.Credential{{ID: "bob", Key: []byte("another key of 24 bytes.")}, alice}
	})
	return r, s, r.begin()[0]
}

// T-13: a client and a server with the same key qualify each other.
func TestSecure(t *testing.T) {
	r, s, rs := securePair(t)
	sent, _ := s.receive(0, mapping, rs.Payload)
	if len(sent) != 1 {
		t.Fatalf("sent %v: %v", sent, s.s.Snapshot().Drops)
	}
	if factor := float64(len(sent[0].Payload)) / float64(len(rs.Payload)); factor > 2.2 {
		t.Errorf("answer %.1f times as long", factor)
	}
	r.receive(serverPort, sent[0].Payload)
	if st := r.c.Snapshot(); st.State != engine.Ready || st.Mapped != mapping {
		t.Errorf("%+v", st)
	}
}

// T-13: a solicitation with any covered byte changed, without signature, with an
// empty or another's one, or with anything behind it is dropped.
func TestSecureSolicitation(t *testing.T) {
	_, s, rs := securePair(t)
	for i := range rs.Payload {
		b := slices.Clone(rs.Payload)
		b[i] ^= 1
		if sent, native := s.receive(0, mapping, b); len(sent)+len(native) != 0 {
			t.Errorf("byte %d changed: answered", i)
		}
	}
	var d wire.Datagram
	if err := wire.Parse(rs.Payload, &d); err != nil {
		t.Fatal(err)
	}
	plain := slices.Clone(d.IPv6)
	bare, _ := wire.AppendAuth(nil, &wire.Auth{ID: []byte("alice"), Nonce: d.Auth.Nonce})
	bob, _ := wire.AppendAuth(nil, &wire.Auth{ID: []byte("bob"), Value: d.Auth.Value, Nonce: d.Auth.Nonce})
	nobody, _ := wire.AppendAuth(nil, &wire.Auth{ID: []byte("eve"), Value: d.Auth.Value, Nonce: d.Auth.Nonce})
	for name, head := range map[string][]byte{
		"no header": nil, "nonce only": wire.AppendNonce(nil, d.Auth.Nonce), "no value": bare, "another's": bob, "unknown": nobody,
	} {
		t.Run(name, func(t *testing.T) {
			s.expectDrop(t, engine.DropServerAuth, 0, mapping, append(head, plain...))
		})
	}
	if sent, _ := s.receive(0, mapping, append(slices.Clone(rs.Payload), 1, 0)); len(sent) != 0 {
		t.Error("answered with a trailer")
	}
	if sent, _ := s.receive(0, mapping, rs.Payload); len(sent) != 1 {
		t.Error("the good one was not answered")
	}
	// Bubbles need no signature: peers have none.
	if sent, _ := s.receive(0, clientPort, wire.AppendBubble(nil, client, other, 0)); len(sent) != 1 {
		t.Errorf("bubble: %v", s.s.Snapshot().Drops)
	}
}

// T-13: the client is not talked down: an advertisement with any byte changed,
// or without signature, changes nothing; nor does an old one.
func TestSecureAdvertisement(t *testing.T) {
	r, s, rs := securePair(t)
	sent, _ := s.receive(0, mapping, rs.Payload)
	good := sent[0].Payload
	for i := range good {
		b := slices.Clone(good)
		b[i] ^= 1
		r.receive(serverPort, b)
		if st := r.c.Snapshot(); st.State == engine.Ready {
			t.Fatalf("byte %d changed: accepted", i)
		}
	}
	r.expectDrop(t, engine.DropRASignature, func() []engine.Transmit { return r.receive(serverPort, r.advertise(rs, mapping)) })
	r.expectDrop(t, engine.DropRASignature, func() []engine.Transmit { return r.receive(serverPort, append(slices.Clone(good), 1, 0)) })
	r.receive(serverPort, good)
	if st := r.c.Snapshot(); st.State != engine.Ready {
		t.Fatalf("the good one was not accepted: %v", st.Drops)
	}
	r.expectDrop(t, engine.DropRANonce, func() []engine.Transmit { return r.receive(serverPort, good) })
	for range 5 { // refreshes are signed as well
		for _, rs := range r.pass(30 * time.Second) {
			if sent, _ := s.receive(0, mapping, rs.Payload); len(sent) == 1 {
				r.receive(serverPort, sent[0].Payload)
			}
		}
	}
	if st := r.c.Snapshot(); st.State != engine.Ready || st.Solicitations < 5 {
		t.Errorf("%+v", st)
	}
}

// A server that asks for no signature answers a signed solicitation without
// one, and the client does not take that.
func TestSecureAtPlainServer(t *testing.T) {
	r, _, rs := securePair(t)
	s := newServer(t, nil)
	sent, _ := s.receive(0, mapping, rs.Payload)
	if len(sent) != 1 {
		t.Fatalf("%v", s.s.Snapshot().Drops)
	}
	r.expectDrop(t, engine.DropRASignature, func() []engine.Transmit { return r.receive(serverPort, sent[0].Payload) })
}

// Credentials are checked.
func TestCredential(t *testing.T) {
	for name, c := range map[string]engine.Credential{
		"no identifier": {Key: alice.Key}, "no key": {ID: "alice"}, "short key": {ID: "alice", Key: alice.Key[:15]},
		"long identifier": {ID: fmt.Sprintf("%0256d", 1), Key: alice.Key},
	} {
		if _, err := engine.NewClient(engine.ClientConfig{Server: primary, Credential: c}); err == nil {
			t.Errorf("client with %s accepted", name)
		}
		if _, err := engine.NewServer(engine.ServerConfig{Primary: primary, Clients: []engine.Credential{c}}); err == nil {
			t.Errorf("server with %s accepted", name)
		}
	}
	twice := []engine.Credential{alice, {ID: "alice", Key: bytes.Repeat([]byte{1}, 20)}}
	if _, err := engine.NewServer(engine.ServerConfig{Primary: primary, Clients: twice}); err == nil {
		t.Error("one identifier for two keys accepted")
	}
	nobody := newServer(t, func(c *engine.ServerConfig) { c.Clients = []engine.Credential{} })
	nobody.expectDrop(t, engine.DropServerAuth, 0, mapping, solicitation(false))
}

// A solicitation without a nonce is answered without one: nobody learns that of
// another client.
func TestNonceNotShared(t *testing.T) {
	s := newServer(t, nil)
	nonce := [8]byte{0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4}
	plain := solicitation(false)[wire.NonceSize:]
	s.receive(0, mapping, append(wire.AppendNonce(nil, nonce), plain...))
	sent, _ := s.receive(0, clientPort, plain)
	var d wire.Datagram
	if len(sent) != 1 || wire.Parse(sent[0].Payload, &d) != nil {
		t.Fatalf("sent %v", sent)
	}
	if d.HasAuth || bytes.Contains(sent[0].Payload, nonce[:]) {
		t.Errorf("answered with %x", sent[0].Payload)
	}
}
