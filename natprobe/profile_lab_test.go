//go:build lab && linux

package natprobe

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"shipworm/natprobe/report"
	"shipworm/testnet/lab"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

// TestKernelsRebuilt: the laboratory's own NAT, made from what a probe saved
// behind a Linux router, gives the same report as that router.
func TestKernelsRebuilt(t *testing.T) {
	l, err := lab.New(lab.Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	l.CloseAfter(t)
	startProgram(t, l, "shipworm", "")
	for i, k := range kernels {
		t.Run(k.name, func(t *testing.T) {
			first := probeBoth(t, kernelHome(t, l, i, k.name, k.rules))
			if k.name == "blocked" {
				if _, err := first.Profile(); err == nil {
					t.Errorf("a profile of %+v", first)
				}
				return // without TCP, nobody knows what is blocked
			}
			saved, err := first.Profile()
			if err != nil {
				t.Fatal(err)
			}
			c, err := nat.ReadProfile(bytes.NewReader(saved))
			if err != nil {
				t.Fatal(err)
			}
			wan := netip.AddrFrom4([4]byte{11, 1, byte(i), 2})
			inside := wan
			if !c.NoTranslation {
				c.External, inside = []netip.Addr{wan}, netip.MustParseAddr("192.168.1.2")
			}
			router, err := l.Router(fmt.Sprint("rebuilt-", k.name), c, link.Config{Delay: 20 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			home, err := router.Host(fmt.Sprint("home-", k.name), link.Config{}, inside, inside.Next())
			if err != nil {
				t.Fatal(err)
			}
			second := probeBoth(t, home)
			switch k.name {
			case "coneport":
				// Ports in the router's range are kept, and whether one of ours
				// is there is chance.
				second.PortPreserving, second.Allocation = first.PortPreserving, first.Allocation
				second.Collision, second.Deterministic = first.Collision, first.Deterministic
			case "restricted", "fullcone":
				// Linux has a mapping for each destination, and a set of rules
				// makes the filter here; the laboratory makes both of one table.
				second.EarlyInbound, second.Deterministic = first.EarlyInbound, first.Deterministic
			}
			if d := cmp.Diff(first, second, behaviour); d != "" {
				t.Errorf("%s\nfrom %s", d, saved)
			}
		})
	}
}

// probeBoth probes from a host and lets its second address play another one.
func probeBoth(t *testing.T, h *lab.Host) *report.Report {
	t.Helper()
	c := probeConfig(t, h, Tests{})
	c.Second = c.Local.Next()
	return runFrom(t, c)
}
