package nat_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/nat"
)

// model is the NAT of RFC 4787 for UDP written as naively as can be: lists,
// searched from end to end.
type model struct {
	cfg  nat.Config
	rows []*row
}

type row struct {
	in, ext netip.AddrPort
	remote  netip.AddrPort // the first destination
	due     time.Time
	peers   map[netip.AddrPort]time.Time

	born     time.Time
	answered bool
	special  uint16 // the only port sent to, if that has a lifetime of its own
}

// life is how long a packet keeps a mapping and what it refreshes.
func (m *model) life(r *row, now time.Time) time.Duration {
	for _, p := range m.cfg.PortLifetimes {
		if p.Port == r.special {
			return p.Lifetime
		}
	}
	if r.answered && now.Sub(r.born) >= m.cfg.AnsweredAge {
		return m.cfg.LifetimeAnswered
	}
	return m.cfg.Lifetime
}

func alike(b nat.Behavior, x, y netip.AddrPort) bool {
	return b == ei || x.Addr() == y.Addr() && (b == ad || x.Port() == y.Port())
}

func (m *model) clean(now time.Time) {
	var keep []*row
	for _, r := range m.rows {
		for p, due := range r.peers {
			if !due.After(now) {
				delete(r.peers, p)
			}
		}
		if r.due.After(now) {
			keep = append(keep, r)
		}
	}
	m.rows = keep
}

func (m *model) outbound(in, to netip.AddrPort) *row {
	for _, r := range m.rows {
		if r.in == in && alike(m.cfg.Mapping, r.remote, to) {
			return r
		}
	}
	return nil
}

// count is how many mappings an inside host has.
func (m *model) count(host netip.Addr) (n int) {
	for _, r := range m.rows {
		if r.in.Addr() == host {
			n++
		}
	}
	return n
}

func (m *model) inbound(from, ext netip.AddrPort) (*row, nat.Reason) {
	for _, r := range m.rows {
		if r.ext != ext {
			continue
		}
		why := nat.FilteredAddress
		if m.cfg.Filtering == ei {
			return r, nat.Permitted
		}
		for p := range r.peers {
			if alike(m.cfg.Filtering, p, from) {
				return r, nat.Permitted
			}
			if p.Addr() == from.Addr() {
				why = nat.FilteredPort
			}
		}
		return r, why
	}
	return nil, nat.NoMapping
}

// random traffic over random configurations does what the naive model
// does, and no two flows ever share an external endpoint.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		behavior := rapid.SampledFrom([]nat.Behavior{ei, ad, apd})
		c := nat.Config{
			External:   []netip.Addr{addr("203.0.113.1"), addr("203.0.113.2")},
			Mapping:    behavior.Draw(t, "mapping"),
			Filtering:  behavior.Draw(t, "filtering"),
			Allocation: rapid.SampledFrom([]nat.Allocation{nat.Preserving, nat.Sequential, nat.Random}).Draw(t, "allocation"),
			Refresh:    rapid.SampledFrom([]nat.Refresh{nat.RefreshOutbound, nat.RefreshBoth, nat.RefreshInbound}).Draw(t, "refresh"),
			Parity:     rapid.Bool().Draw(t, "parity"),
			Step:       rapid.Uint16Range(0, 5).Draw(t, "step"),
			Lifetime:   10 * time.Second,
			PortMin:    5000, PortMax: 5063,
			LifetimeAnswered: time.Duration(rapid.IntRange(10, 20).Draw(t, "answered")) * time.Second,
			AnsweredAge:      time.Duration(rapid.IntRange(0, 5).Draw(t, "age")) * time.Second,
			MaxPerHost:       rapid.SampledFrom([]int{0, 2}).Draw(t, "limit"),
			Seed:             rapid.Uint64().Draw(t, "seed"),
		}
		if rapid.Bool().Draw(t, "a port has its lifetime") {
			c.PortLifetimes = []nat.PortLifetime{{Port: 5001, Lifetime: 7 * time.Second}}
		}
		if c.Mapping != ei {
			c.ReuseSource = rapid.Bool().Draw(t, "reuse")
		}
		if !c.Parity {
			c.PortBlock = rapid.SampledFrom([]uint16{0, 8}).Draw(t, "block")
		}
		n, err := nat.New(c)
		if err != nil {
			t.Fatal(err)
		}
		m := &model{cfg: c}
		now := start
		endpoints := func(name string, hosts []string) netip.AddrPort {
			h := rapid.SampledFrom(hosts).Draw(t, name)
			return netip.AddrPortFrom(addr(h), rapid.Uint16Range(5000, 5001).Draw(t, name+" port"))
		}
		inside := []string{"10.0.0.1", "10.0.0.2"} // few, so that flows meet again
		outside := []string{"198.51.100.1", "198.51.100.2"}

		t.Repeat(map[string]func(*rapid.T){
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 6).Draw(t, "seconds")) * time.Second)
			},
			"out": func(t *rapid.T) {
				in, to := endpoints("in", inside), endpoints("to", outside)
				pkt := ipv4.AppendUDP(nil, 1, in, to, []byte("x"))
				v := n.Outbound(now, pkt)
				m.clean(now)
				r := m.outbound(in, to)
				if r == nil && c.MaxPerHost > 0 && m.count(in.Addr()) >= c.MaxPerHost {
					if v.Reason != nat.HostLimitReached {
						t.Fatalf("%v > %v: %v beyond the limit", in, to, v.Reason)
					}
					return
				}
				if r == nil && c.PortBlock > 0 && m.count(in.Addr()) >= int(c.PortBlock) {
					if v.Reason != nat.PortsExhausted {
						t.Fatalf("%v > %v: %v beyond the block", in, to, v.Reason)
					}
					return
				}
				if v.Action != nat.Forward {
					t.Fatalf("%v > %v: %v", in, to, v.Reason)
				}
				checkSums(t, pkt)
				ext, _ := ends(pkt)
				if (r == nil) != (v.Reason == nat.NewMapping) {
					t.Fatalf("%v > %v: %v, but the model has %+v", in, to, v.Reason, r)
				}
				if r == nil {
					for _, o := range m.rows {
						if o.ext == ext {
							t.Fatalf("%v was given to %v and %v", ext, o.in, in)
						}
						if c.PortBlock > 0 && o.ext.Addr() == ext.Addr() && o.in.Addr() != in.Addr() &&
							(o.ext.Port()-5000)/c.PortBlock == (ext.Port()-5000)/c.PortBlock {
							t.Fatalf("%v and %v share a block: %v, %v", o.in, in, o.ext, ext)
						}
					}
					if ext.Port() < 5000 || ext.Port() > 5063 || c.Parity && ext.Port()%2 != in.Port()%2 {
						t.Fatalf("%v got port %d", in, ext.Port())
					}
					r = &row{in: in, ext: ext, remote: to, peers: map[netip.AddrPort]time.Time{}, born: now, special: to.Port()}
					m.rows = append(m.rows, r)
				}
				if r.special != to.Port() {
					r.special = 0
				}
				if ext != r.ext {
					t.Fatalf("%v > %v: from %v, the model says %v", in, to, ext, r.ext)
				}
				due := now.Add(m.life(r, now))
				if r.due.IsZero() || c.Refresh != nat.RefreshInbound {
					r.due = due
				}
				for p, old := range r.peers {
					if alike(c.Filtering, p, to) {
						if c.Refresh == nat.RefreshInbound {
							due = old
						}
						r.peers[p] = due
					}
				}
				r.peers[to] = due
			},
			"in": func(t *rapid.T) {
				from := endpoints("from", outside)
				to := netip.AddrPortFrom(c.External[rapid.IntRange(0, 1).Draw(t, "pool")], rapid.Uint16Range(5000, 5063).Draw(t, "external port"))
				if rows := n.Mappings(now); len(rows) > 0 && rapid.IntRange(0, 9).Draw(t, "hit") > 0 {
					to = rapid.SampledFrom(rows).Draw(t, "mapping").External
				}
				pkt := ipv4.AppendUDP(nil, 1, from, to, []byte("x"))
				v := n.Inbound(now, pkt)
				m.clean(now)
				r, why := m.inbound(from, to)
				if v.Reason != why {
					t.Fatalf("%v > %v: %v, the model says %v", from, to, v.Reason, why)
				}
				if why != nat.Permitted {
					return
				}
				checkSums(t, pkt)
				if _, dst := ends(pkt); dst != r.in {
					t.Fatalf("%v > %v: went to %v instead of %v", from, to, dst, r.in)
				}
				first := !r.answered
				r.answered = true
				if c.Refresh != nat.RefreshOutbound || first && c.LifetimeAnswered > c.Lifetime {
					r.due = now.Add(m.life(r, now))
					for p := range r.peers {
						if alike(c.Filtering, p, from) || c.Filtering <= c.Mapping {
							r.peers[p] = r.due
						}
					}
				}
			},
			"": func(t *rapid.T) {
				m.clean(now)
				if got := len(n.Mappings(now)); got != len(m.rows) {
					t.Fatalf("%d mappings, the model has %d", got, len(m.rows))
				}
			},
		})
	})
}

func checkSums(t *rapid.T, pkt []byte) {
	p, h, ok := ipv4.Check(pkt)
	if !ok || !ipv4.TransportOK(p, h) {
		t.Fatalf("malformed packet %x", pkt)
	}
}

// Incremental checksums equal computed ones for any change (RFC 1624).
func TestChecksums(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) netip.AddrPort {
			a := rapid.Uint32Range(1<<24, 224<<24-1).Draw(t, name)
			return netip.AddrPortFrom(ipv4.Addr(a), rapid.Uint16Min(1).Draw(t, name+" port"))
		}
		in, to, ext := draw("in"), draw("to"), draw("ext")
		if to.Addr() == ext.Addr() {
			t.Skip("hairpin")
		}
		payload := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "payload")
		n, err := nat.New(nat.Config{External: []netip.Addr{ext.Addr()}, PortMin: ext.Port(), PortMax: ext.Port()})
		if err != nil {
			t.Fatal(err)
		}
		for name, build := range map[string]func(from, to netip.AddrPort) []byte{
			"UDP": func(from, to netip.AddrPort) []byte { return ipv4.AppendUDP(nil, 1, from, to, payload) },
			"TCP": func(from, to netip.AddrPort) []byte { return ipv4.AppendTCP(nil, 1, from, to, ipv4.SYN, payload) },
		} {
			pkt := build(in, to)
			if v := n.Outbound(start, pkt); v.Action != nat.Forward {
				t.Fatal(v.Reason)
			}
			if want := build(ext, to); fmt.Sprintf("%x", pkt) != fmt.Sprintf("%x", want) {
				t.Fatalf("%s out:\n got %x\nwant %x", name, pkt, want)
			}
			pkt = build(to, ext)
			if v := n.Inbound(start, pkt); v.Action != nat.Forward {
				t.Fatal(v.Reason)
			}
			if want := build(to, in); fmt.Sprintf("%x", pkt) != fmt.Sprintf("%x", want) {
				t.Fatalf("%s in:\n got %x\nwant %x", name, pkt, want)
			}
		}
	})
}
