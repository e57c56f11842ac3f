package natprobe

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"shipworm/natprobe/message"
	"shipworm/natprobe/report"
	"shipworm/testnet/adversary"
	"shipworm/testnet/link"
)

const a1, a2 = "198.51.100.1", "198.51.100.2"

// A server that lies makes nothing look open, and nothing else wrong: what it
// lies about is unknown.
func TestLyingServers(t *testing.T) {
	lies := map[string]struct {
		quirk quirk
		lost  bool // the filtering cannot be told
		half  bool // the mapping neither
	}{
		"change request ignored":        {ignoresChange, true, false},
		"other address is the same":     {sameAddress, true, true},
		"other address is the client's": {mirrors, true, true},
		"source is a lie":               {liesOfSource, false, false},
		"other address names itself":    {ownOther, false, false},
		"no other address":              {singleAddress, true, true},
		"change requests dropped":       {dropsChange, true, false},
		"only the port is changed":      {changesOnlyPort, true, false},
	}
	for name, lie := range lies {
		for _, s := range setups(t) {
			if s.mapping == report.BehaviorUnknown {
				continue
			}
			t.Run(name+"/"+s.name, func(t *testing.T) {
				r := newRig(t, 1, 0, s.routers...)
				r.server(lie.quirk, a1, a2)
				r.run(Config{})
				got := r.m.report()
				filtering, mapping := s.filtering, s.mapping
				if lie.lost {
					filtering = report.BehaviorUnknown
				}
				if lie.half && s.nat == report.Yes {
					mapping = report.BehaviorUnknown
				}
				// Who ignores RESPONSE-PORT gives no control behind a mapping
				// that depends on the destination.
				if lie.quirk == liesOfSource && s.mapping != report.EndpointIndependent {
					filtering = report.BehaviorUnknown
				}
				// An answer from another address is one, whatever was asked for.
				if got.Filtering != filtering || got.Mapping != mapping {
					t.Errorf("filtering %v, mapping %v (%v), want %v, %v", got.Filtering, got.Mapping, got.Evidence, filtering, mapping)
				}
				if lie.quirk == ignoresChange && !slices.ContainsFunc(got.Evidence, func(e report.Evidence) bool {
					return e.For == "filtering" && strings.Contains(e.Text, "does not answer from where")
				}) {
					t.Errorf("the lie is not named: %v", got.Evidence)
				}
				if got.Filtering == report.EndpointIndependent && s.filtering != report.EndpointIndependent {
					t.Error("looks open")
				}
			})
		}
	}
}

// A server whose other port cannot be heard does not make a filter look
// stricter than it is; nor does one whose answers come late.
func TestMuteAndSlowServers(t *testing.T) {
	for _, quirk := range []quirk{dropsPort, slow} {
		for _, s := range setups(t) {
			if s.mapping == report.BehaviorUnknown {
				continue
			}
			r := newRig(t, 1, 0, s.routers...)
			r.server(quirk, a1, a2)
			r.run(Config{})
			got := r.m.report()
			want := report.BehaviorUnknown
			if s.filtering == report.EndpointIndependent && quirk == dropsPort {
				want = s.filtering
			}
			// Behind the strictest filter late answers only get in once it is open.
			if quirk == slow && s.filtering == report.AddressAndPortDependent && got.Filtering == s.filtering {
				want = s.filtering
			}
			if got.Filtering != want || got.Mapping != s.mapping {
				t.Errorf("quirk %d, %s: %v, %v, want %v: %v", quirk, s.name, got.Mapping, got.Filtering, want, got.Evidence)
			}
		}
	}
}

// N-04: where packets get lost, silence has to last longer to count.
func TestSilenceNeedsMoreUnderLoss(t *testing.T) {
	for loss, more := range map[float64]bool{0: false, 0.2: true} {
		longer := 0
		for seed := range uint64(50) {
			r := newRig(t, seed, loss, profile(t, "port-restricted"))
			r.server(correct, a1, a2)
			r.run(Config{})
			switch n := len(r.m.f2.sent); {
			case n < certain || n > certainAtMost:
				t.Errorf("loss %v: %d copies", loss, n)
			case n > certain:
				longer++
			}
		}
		if more && longer < 40 || !more && longer > 0 {
			t.Errorf("loss %v: %d of 50 runs asked longer", loss, longer)
		}
	}
}

// N-01: an answer with a transaction ID that nobody sent, or with a right one
// from an address that the test does not expect, changes no verdict. The
// second can only come from somebody on the way.
func TestSpoofedAnswers(t *testing.T) {
	forged := addrPort("203.0.113.66:6666")
	for _, s := range setups(t) {
		t.Run(s.name, func(t *testing.T) {
			if s.mapping == report.BehaviorUnknown {
				t.Skip("nothing reaches the other side of a blocked network")
			}
			r := newRig(t, 1, 0, s.routers...)
			r.server(correct, a1, a2)
			n := 0
			r.spoof = func(id int, to netip.AddrPort, data []byte) {
				req, err := message.Parse(data)
				if err != nil {
					t.Fatal(err)
				}
				ans := message.Message{Class: message.Success, ID: req.ID, XORMapped: forged, Other: forged}
				for _, from := range []netip.AddrPort{forged, netip.AddrPortFrom(to.Addr(), 1234), netip.AddrPortFrom(addr(a2), 9)} {
					r.m.receive(r.w.Now(), id, from, ans.Append(nil))
					n++
				}
				ans.ID = message.NewID()
				r.m.receive(r.w.Now(), id, to, ans.Append(nil))
				n++
			}
			r.run(Config{})
			got := r.m.report()
			if got.Mapping != s.mapping || got.Filtering != s.filtering {
				t.Errorf("%v, %v: %v", got.Mapping, got.Filtering, got.Evidence)
			}
			// Those that came before it was known who may answer are held.
			if c := r.m.count; n == 0 || c.WrongSource+c.Unasked < n-3*maxHeld {
				t.Errorf("%d forged, %+v", n, c)
			}
		})
	}
}

// N-02, T-01: an other address inside, this host's own, or of a service that
// answers strangers is not sent to; and what an other address names as its own
// other address is not either.
func TestOtherAddressPolicy(t *testing.T) {
	for _, other := range []string{
		"127.0.0.1:3479", "10.1.2.3:3479", "192.168.1.1:3479", "172.16.0.1:3479", "100.64.0.1:3479", "169.254.1.1:3479",
		"224.0.0.1:3479", "255.255.255.255:3479", "0.0.0.0:3479", "192.88.99.1:3479", "240.0.0.1:3479", "192.0.0.1:3479",
		"203.0.113.1:3479",              // the mapped address
		"8.8.8.8:53",                    // a low port
		"8.8.8.8:1900", "8.8.8.8:11211", // amplifiers
		"[2001:db8::1]:3479",               // another family
		"198.18.7.7:3479", "11.7.7.7:3479", // an intranet, an own address
	} {
		t.Run(other, func(t *testing.T) {
			r := newRig(t, 1, 0, profile(t, "port-restricted"))
			r.server(correct, a1, a2).other = addrPort(other)
			r.run(Config{Policy: Policy{Inside: []netip.Prefix{netip.MustParsePrefix("198.18.0.0/15")}, Own: []netip.Addr{addr("11.7.7.7")}}})
			if i := slices.IndexFunc(r.sent, func(to netip.AddrPort) bool { return to != addrPort(a1+":3478") }); i >= 0 {
				t.Errorf("a packet to %s", r.sent[i])
			}
			if got := r.m.report(); got.Filtering != report.BehaviorUnknown || got.Mapping != report.BehaviorUnknown {
				t.Errorf("%v, %v", got.Mapping, got.Filtering)
			}
		})
	}
	r := newRig(t, 1, 0, profile(t, "port-restricted"))
	r.server(correct, a1, a2).other = addrPort("198.51.100.9:3479")
	r.run(Config{})
	if !slices.Contains(r.sent, addrPort("198.51.100.9:3479")) {
		t.Error("a permitted address is not asked")
	}
}

// N-03: a run sends at most 80 packets, however bad the network: 40 at once
// and ten a second beyond. Answers larger than 1,280 bytes are not read.
func TestPacketLimits(t *testing.T) {
	for _, loss := range []float64{0, 0.3, 0.6} {
		for _, s := range setups(t) {
			for seed := range uint64(10) {
				r := newRig(t, seed, loss, s.routers...)
				r.server(correct, a1, a2)
				var times []time.Time
				r.spoof = func(int, netip.AddrPort, []byte) { times = append(times, r.w.Now()) }
				r.run(Config{Tests: Tests{Ports: true, Hairpin: true, Fragments: true, MTU: true, Layers: true, Lifetime: time.Minute}})
				if len(times) > 80 || len(times) != r.m.count.Sent {
					t.Fatalf("%s, loss %v: %d packets, counted %d", s.name, loss, len(times), r.m.count.Sent)
				}
				for i := range times {
					if n := len(times) - i; float64(n) > 40+10*times[len(times)-1].Sub(times[i]).Seconds()+1e-3 {
						t.Fatalf("%s, loss %v: %d packets in %v", s.name, loss, n, times[len(times)-1].Sub(times[i]))
					}
				}
			}
		}
	}
	m := newMachine(Config{Servers: []netip.AddrPort{addrPort(a1 + ":3478")}}, newPacer(begin))
	m.start(begin)
	var big message.Message
	big.Class, big.Software, big.Padding = message.Success, "x", 1400
	for _, a := range m.actions() {
		if a.kind == actSend {
			req, _ := message.Parse(a.data)
			big.ID, big.XORMapped = req.ID, addrPort("203.0.113.1:1")
			m.receive(begin, a.sock, a.to, big.Append(nil))
		}
	}
	if m.count.Malformed == 0 || m.heard() {
		t.Errorf("a large answer is taken: %+v", m.count)
	}
}

// The prober's limit holds over its runs, too: the second starts with what the
// first left.
func TestPaceOverRuns(t *testing.T) {
	p := newPacer(begin)
	for range Burst {
		if !p.take(begin) {
			t.Fatal("the burst is smaller than it says")
		}
	}
	if p.take(begin) {
		t.Error("a packet beyond the burst")
	}
	at := p.ready(begin)
	if d := at.Sub(begin); d < time.Second/Rate || d > time.Second/Rate+ms || !p.take(at) {
		t.Errorf("the next packet leaves after %v", d)
	}
}

// N-04: at 10 % loss in each direction 99 of 100 classifications are right and
// none is wrong; at 20 %, 97 of 100.
func TestAccuracyUnderLoss(t *testing.T) {
	for loss, want := range map[float64]struct{ runs, right int }{0: {10, 10}, 0.1: {200, 198}, 0.2: {200, 194}} {
		wrong := 0
		for _, s := range setups(t) {
			var y tally
			for seed := range uint64(want.runs) {
				y.judge(t, s, seed+1, link.Config{Loss: loss})
			}
			t.Logf("%-18s %3.0f %% lost each way: %3d of %3d right, %d unknown, %d wrong", s.name, 100*loss, y.right, y.runs, y.unknown, y.wrong)
			if wrong += y.wrong; y.right < want.right {
				t.Errorf("%s at loss %v: %+v, want %d right", s.name, loss, y, want.right)
			}
		}
		if loss <= 0.1 && wrong > 0 {
			t.Errorf("%d wrong verdicts at loss %v", wrong, loss)
		}
	}
}

// N-08: a second server that sees another endpoint takes the word
// "endpoint-independent" back.
func TestServersMustAgree(t *testing.T) {
	second := addrPort("192.0.2.50:3478")
	c := Config{Servers: []netip.AddrPort{addrPort(a1 + ":3478"), second}}
	r := newRig(t, 1, 0, profile(t, "cone"))
	r.server(correct, a1, a2)
	other := r.server(singleAddress, "192.0.2.50")
	r.run(c)
	if got := r.m.report(); got.Mapping != report.EndpointIndependent {
		t.Errorf("agreeing: %v, %v", got.Mapping, got.Evidence)
	}
	r = newRig(t, 1, 0, profile(t, "cone"))
	r.server(correct, a1, a2)
	other = r.server(singleAddress, "192.0.2.50")
	other.claims = addrPort("203.0.113.1:7")
	r.run(c)
	if got := r.m.report(); got.Mapping != report.BehaviorUnknown {
		t.Errorf("disagreeing: %v, %v", got.Mapping, got.Evidence)
	}
}

// Two plain servers are enough for the mapping, and say nothing of the filter.
func TestTwoPlainServers(t *testing.T) {
	for _, s := range setups(t) {
		if s.nat != report.Yes {
			continue
		}
		r := newRig(t, 1, 0, s.routers...)
		r.server(singleAddress, a1)
		r.server(singleAddress, "192.0.2.50")
		r.run(Config{Servers: []netip.AddrPort{addrPort(a1 + ":3478"), addrPort("192.0.2.50:3478")}})
		want := s.mapping
		if want != report.EndpointIndependent {
			want = report.Dependent
		}
		if got := r.m.report(); got.Mapping != want || got.Filtering != report.BehaviorUnknown || got.Kind != report.TwoServers {
			t.Errorf("%s: %v, %v, %v; want %v", s.name, got.Mapping, got.Filtering, got.Kind, want)
		}
	}
}

// That one of two plain servers keeps silent is said, and decides nothing.
func TestSecondServerSilent(t *testing.T) {
	r := newRig(t, 1, 0, profile(t, "symmetric"))
	r.server(singleAddress, a1)
	r.run(Config{Servers: []netip.AddrPort{addrPort(a1 + ":3478"), addrPort("192.0.2.50:3478")}})
	if got := r.m.report(); got.Mapping != report.BehaviorUnknown || got.Evidence[0].Text != "the second server does not answer" {
		t.Errorf("%v, %v", got.Mapping, got.Evidence)
	}
}

// A dead server is told from a blocked network by a second server, or by TCP.
func TestSilence(t *testing.T) {
	two := []netip.AddrPort{addrPort("192.0.2.99:3478"), addrPort(a1 + ":3478")}
	r := newRig(t, 1, 0, profile(t, "linux"))
	r.server(correct, a1, a2)
	took := r.run(Config{Servers: two})
	got := r.m.report()
	if got.Access != report.NAT || got.Filtering != report.AddressAndPortDependent || got.Servers[0].Answered || !got.Servers[1].Answered {
		t.Errorf("dead first server: %+v", got)
	}
	if took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	// One that refuses is as good as dead, at once.
	r = newRig(t, 1, 0, profile(t, "linux"))
	r.server(refuses, "192.0.2.99")
	r.server(correct, a1, a2)
	if took := r.run(Config{Servers: two}); r.m.report().Mapping != report.EndpointIndependent || took > time.Second {
		t.Errorf("refusing first server: %+v after %v", r.m.report(), took)
	}
	// A second one that dies, too, ends the run.
	r = newRig(t, 1, 0, profile(t, "linux"))
	r.server(refuses, "192.0.2.99")
	r.server(once, a1, a2)
	if took := r.run(Config{Servers: two}); r.m.report().Mapping != report.BehaviorUnknown || took > 5*time.Second {
		t.Errorf("both dead: %+v after %v", r.m.report(), took)
	}
	for _, tcp := range []tcpAnswer{tcpSilent, tcpRefused, tcpOpen} {
		r := newRig(t, 1, 0, profile(t, "udp-blocked"))
		r.tcp = tcp
		took := r.run(Config{})
		got := r.m.report()
		want := report.Report{Access: report.AccessUnknown, Silence: report.SilenceUnknown}
		if tcp == tcpOpen {
			want = report.Report{Access: report.Blocked, Silence: report.UDPBlocked}
		}
		if got.Access != want.Access || got.Silence != want.Silence || took > 2*time.Second {
			t.Errorf("TCP %v: %v, %v after %v", tcp, got.Access, got.Silence, took)
		}
	}
}

// An ICMP error tells why nobody answers, at once, if it is from who can know:
// the server's host that no server runs there, a router that it refuses.
func TestRefused(t *testing.T) {
	for from, want := range map[string]report.Report{
		a1:            {Access: report.AccessUnknown, Silence: report.ServerDead},
		"203.0.113.1": {Access: report.Blocked, Silence: report.UDPBlocked},
	} {
		r := newRig(t, 1, 0, profile(t, "linux"))
		r.refuses = addr(from)
		took := r.run(Config{})
		if got := r.m.report(); got.Access != want.Access || got.Silence != want.Silence || took > 100*ms {
			t.Errorf("%s: %v, %v after %v", from, got.Access, got.Silence, took)
		}
	}
}

// An attacker next to the client who plays everything again makes no verdict
// wrong. It may be unknown: an old question has its answer let in once the
// filter is open.
func TestReplayedAnswers(t *testing.T) {
	for _, s := range setups(t) {
		r := newRig(t, 1, 0, s.routers...)
		r.server(correct, a1, a2)
		rep := adversary.Replayer{After: 70 * ms}
		rep.Attach(r.w, r.client)
		r.run(Config{})
		got := r.m.report()
		right := func(got, want report.Behavior) bool { return got == want || got == report.BehaviorUnknown }
		if !right(got.Mapping, s.mapping) || !right(got.Filtering, s.filtering) {
			t.Errorf("%s: %v, %v", s.name, got.Mapping, got.Filtering)
		}
	}
}

// A stray packet that comes before the prober's own moves Linux's mapping for
// its sender. The mapping is looked at again on another socket then.
func TestStrayPackets(t *testing.T) {
	for from, moved := range map[string]bool{a1 + ":3479": false, a2 + ":3478": true, a2 + ":3479": true} {
		r := newRig(t, 1, 0, profile(t, "linux-open-input"))
		r.server(pokes, a1, a2).poke = addrPort(from)
		r.run(Config{})
		if got := r.m.report(); got.Mapping != report.EndpointIndependent || got.Filtering != report.AddressAndPortDependent || r.m.remapped != moved {
			t.Errorf("from %s: %v, %v, %v", from, got.Mapping, got.Filtering, got.Evidence)
		}
	}
}
