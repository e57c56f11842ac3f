package natprobe

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"shipworm/natprobe/report"
	"shipworm/testnet/nat"
)

// behaviour compares what a report says of the NAT, and leaves out what is
// another one in every run.
var behaviour = cmp.Options{
	cmpopts.IgnoreFields(report.Report{}, "Time", "Duration", "Servers", "Local", "Mapped", "Pool", "Packets", "Evidence"),
	cmpopts.IgnoreFields(report.Allocation{}, "Next"),
	cmpopts.EquateEmpty(),
}

// rebuilt probes behind routers with every test, and again behind the NAT that
// the first report's profile describes.
func rebuilt(t *testing.T, routers ...nat.Config) (first, second *report.Report, profile []byte) {
	t.Helper()
	probe := func(routers ...nat.Config) *report.Report {
		for i := range routers {
			if routers[i].ArbitraryPooling {
				routers[i].External = []netip.Addr{addr("203.0.113.100"), addr("203.0.113.101"), addr("203.0.113.102")}
			}
		}
		r := newRig(t, 1, 0, routers...)
		r.tcp = tcpOpen // or nobody knew whether UDP is blocked
		r.server(correct, "198.51.100.1", "198.51.100.2")
		const most = 6 * time.Minute
		var all *report.Report
		for _, pass := range (Tests{Ports: true, Hairpin: true, Fragments: true, Lifetime: most, StreamLifetime: most}).passes() {
			r.run(Config{Tests: pass, Second: r.client.Addrs()[1]})
			if all == nil {
				all = r.m.report()
			} else {
				addLifetimes(all, r.m.report())
			}
		}
		return all
	}
	first = probe(routers...)
	profile, err := first.Profile()
	if errors.Is(err, report.ErrIncomplete) {
		return first, nil, nil
	} else if err != nil {
		t.Fatal(err)
	}
	c, err := nat.ReadProfile(bytes.NewReader(profile))
	if err != nil {
		t.Fatalf("%v in %s", err, profile)
	}
	return first, probe(c), profile
}

// TestProfileRebuilds: what a probe saves makes a NAT in the laboratory that a
// probe cannot tell from the first one, for every profile that there is.
func TestProfileRebuilds(t *testing.T) {
	cases := map[string]nat.Config{}
	for _, name := range nat.Profiles() {
		c := profile(t, name)
		// A filter behind mappings to several addresses shows to nobody: no
		// server can aim at the mapping that another of its ports opened.
		c.ArbitraryPooling = false
		cases[name] = c
	}
	with := func(f func(*nat.Config)) nat.Config { c := profile(t, "port-restricted"); f(&c); return c }
	cases["even to even"] = with(func(c *nat.Config) { c.Allocation, c.Parity = nat.Random, true })
	cases["neighbours"] = with(func(c *nat.Config) { c.Allocation, c.Contiguity = nat.Random, true })
	cases["every other port"] = with(func(c *nat.Config) { c.Allocation, c.Step = nat.Sequential, 2 })
	cases["fragments dropped"] = with(func(c *nat.Config) { c.Fragments = nat.FragmentsDropped })
	cases["pool"] = with(func(c *nat.Config) { c.ArbitraryPooling = true })
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			first, second, saved := rebuilt(t, c)
			if second == nil {
				t.Fatalf("not enough is known: %+v", first)
			}
			if d := cmp.Diff(first, second, behaviour); d != "" {
				t.Errorf("%s\nfrom %s", d, saved)
			}
		})
	}
}
