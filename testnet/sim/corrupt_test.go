package sim_test

import (
	"math/bits"
	"testing"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/invariant"
	"shipworm/testnet/link"
	"shipworm/testnet/sim"
)

// A line that corrupts flips one bit of what it delivers, after the watchers
// saw the packet whole; the trace tells, and no socket gets it. The invariants
// excuse what is corrupted, and nothing else. (L-05)
func TestCorruption(t *testing.T) {
	n := newLab(t, 1)
	server, pc := n.bind(n.host("server", "198.51.100.1"), 7), n.behind(n.router("home", "cone", "203.0.113.1"), "pc", "192.168.1.2")
	if err := pc.SetLink(link.Config{Corrupt: 1}); err != nil {
		t.Fatal(err)
	}
	var before, after []byte
	later := 0
	n.Watch(func(x sim.Transit) {
		if x.Line == "pc/up" {
			before = append([]byte(nil), x.Packet...)
			if x.Corrupted {
				t.Errorf("corrupted before it was on a line: %v", x)
			}
		} else if later++; !x.Corrupted {
			t.Errorf("not marked: %v", x)
		}
	})
	whys := map[string]int{}
	n.SetTrace(func(e sim.Event) {
		n.events = append(n.events, e.String())
		switch e.Kind {
		case sim.Corrupted:
			after = append([]byte(nil), e.Packet...)
			if e.Node != "pc/up" || e.Reason != "a bit flipped on the line" {
				t.Errorf("event %v", e)
			}
		case sim.Dropped:
			whys[e.Node+": "+e.Reason]++
		}
	})
	a := n.bind(pc, 0)
	const count = 200
	for range count {
		a.send(addrPort("198.51.100.1:7"), "whatever")
		flipped := 0
		for i := range before {
			flipped += bits.OnesCount8(before[i] ^ after[i])
		}
		if flipped != 1 || len(before) != len(after) {
			t.Fatalf("%d bits flipped", flipped)
		}
		if _, _, ok := ipv4.Check(before); !ok {
			t.Fatal("the watcher saw a packet that was not whole")
		}
		n.run(100 * ms)
	}
	if len(server.got) != 0 || later == 0 || n.Stats().Corrupted != count {
		t.Errorf("%d delivered, %d seen later, %d counted; want 0, some, %d", len(server.got), later, n.Stats().Corrupted, count)
	}
	// Bits of the IPv4 header are found on the LAN, others at the end.
	if whys["server: wrong UDP checksum"] == 0 || whys["home/lan: not a well-formed IPv4 packet"] == 0 {
		t.Errorf("dropped: %v", whys)
	}
}

// A line spoils each copy on its own.
func TestCorruptionOfCopies(t *testing.T) {
	n := newLab(t, 3)
	server, client := n.bind(n.host("server", "198.51.100.1"), 7), n.host("client", "203.0.113.1")
	if err := client.SetLink(link.Config{Corrupt: 0.5, Duplicate: 1}); err != nil {
		t.Fatal(err)
	}
	a := n.bind(client, 0)
	const count = 400
	fates := [3]int{}
	for range count {
		server.got = nil
		a.send(server.LocalAddr(), "whatever")
		n.run(100 * ms)
		fates[len(server.got)]++
	}
	for i, want := range [3]int{count / 4, count / 2, count / 4} {
		if fates[i] < want/2 || fates[i] > want*3/2 {
			t.Errorf("%d of %d datagrams arrived %d times, want about %d", fates[i], count, i, want)
		}
	}
}

// What is corrupted depends on the seed alone.
func TestCorruptionIsDeterministic(t *testing.T) {
	run := func(seed uint64) string {
		n := newLab(t, seed)
		sum := sim.NewHash()
		n.SetTrace(sum.Add)
		server, client := n.bind(n.host("server", "198.51.100.1"), 7), n.host("client", "203.0.113.1")
		if err := client.SetLink(link.Config{Corrupt: 0.5}); err != nil {
			t.Fatal(err)
		}
		a := n.bind(client, 0)
		for range 50 {
			a.send(server.LocalAddr(), "whatever")
			n.run(10 * ms)
		}
		return sum.Sum()
	}
	if one := run(5); one != run(5) {
		t.Error("one seed, two traces")
	} else if one == run(6) {
		t.Error("two seeds, one trace")
	}
}

// A wrong checksum that nobody's line made is still a breach.
func TestWrongChecksumIsNoExcuse(t *testing.T) {
	w := sim.New(1, start)
	h, err := w.Host("server", link.Config{}, addr("198.51.100.1"))
	if err != nil {
		t.Fatal(err)
	}
	watch := invariant.Observe(w, invariant.Config{})
	pkt := ipv4.AppendUDP(nil, 1, addrPort("198.51.100.1:7"), addrPort("198.51.100.1:7"), []byte("x"))
	pkt[len(pkt)-1] ^= 1
	h.Send(pkt)
	if watch.Breaches(invariant.Checksum) != 1 {
		t.Errorf("breaches: %v", watch.Err())
	}
}
