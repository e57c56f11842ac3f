//go:build lab && linux

package lab_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"shipworm/testnet/lab"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

// What coturn's natdiscovery says, "NAT with " and "!" left out.
const (
	eiMapping   = "Endpoint Independent Mapping"
	adMapping   = "Address Dependent Mapping"
	apdMapping  = "Address and Port Dependent Mapping"
	eiFiltering = "Endpoint Independent Filtering"
	adFiltering = "Address Dependent Filtering"
	apFiltering = "Address and Port Dependent Filtering"
)

// kinds is what two unmodified classifiers must call the laboratory's NATs.
// coturn's says "NAT" where there is none, and takes a firewall for a NAT with
// endpoint independent mapping. Vovida's knows no difference between mappings
// that depend on the address and on the port too, and says nothing about
// filters behind either. A NAT that maps each destination to the same port, as
// Linux does, looks endpoint independent to a client who is alone. Left out are
// home-alg, which rewrites what the servers say, and symmetric-pooled, which is
// symmetric here, where a home has one address.
var kinds = []struct {
	profile            string
	mapping, filtering string // coturn
	vovida             string
}{
	{"cone", eiMapping, eiFiltering, "Independent Mapping, Independent Filter, preserves ports, will hairpin"},
	{"address-restricted", eiMapping, adFiltering, "Independent Mapping, Address Dependent Filter, preserves ports, will hairpin"},
	{"port-restricted", eiMapping, apFiltering, "Independent Mapping, Port Dependent Filter, preserves ports, will hairpin"},
	{"symmetric", apdMapping, apFiltering, "Dependent Mapping, random port, no hairpin"},
	{"symmetric-address", adMapping, adFiltering, "Dependent Mapping, random port, no hairpin"},
	{"symmetric-sequential", apdMapping, apFiltering, "Dependent Mapping, random port, no hairpin"},
	{"symmetric-preserving", eiMapping, apFiltering, "Independent Mapping, Port Dependent Filter, preserves ports, no hairpin"},
	{"linux", eiMapping, apFiltering, "Independent Mapping, Port Dependent Filter, preserves ports, no hairpin"},
	{"linux-open-input", eiMapping, apFiltering, "Independent Mapping, Port Dependent Filter, preserves ports, no hairpin"},
	{"symmetric-first", apdMapping, apFiltering, "Dependent Mapping, preserves ports, no hairpin"},
	{"rfc4787", eiMapping, eiFiltering, "Independent Mapping, Independent Filter, preserves ports, will hairpin"},
	{"home", eiMapping, adFiltering, "Independent Mapping, Address Dependent Filter, preserves ports, no hairpin"},
	{"home-strict", eiMapping, apFiltering, "Independent Mapping, Port Dependent Filter, preserves ports, no hairpin"},
	{"home-overloading", eiMapping, apFiltering, "Independent Mapping, Port Dependent Filter, preserves ports, no hairpin"},
	{"short-lived", eiMapping, apFiltering, "Independent Mapping, Port Dependent Filter, preserves ports, no hairpin"},
	{"teredo-blocked", eiMapping, apFiltering, "Independent Mapping, Port Dependent Filter, preserves ports, no hairpin"},
	{"upnp-port-restricted", eiMapping, apFiltering, "Independent Mapping, Port Dependent Filter, preserves ports, will hairpin"},
	{"upnp-symmetric", apdMapping, apFiltering, "Dependent Mapping, random port, no hairpin"},
	{"hotel", apdMapping, apFiltering, "Dependent Mapping, random port, no hairpin"},
	{"enterprise", apdMapping, apFiltering, "Dependent Mapping, random port, no hairpin"},
	{"cgn", eiMapping, eiFiltering, "Independent Mapping, Independent Filter, random port, will hairpin"},
	{"firewall", eiMapping, apFiltering, "Firewall"},
	{"udp-blocked", "", "", "Blocked or could not reach STUN server"},
	{"none", eiMapping, eiFiltering, "Open"},
}

// TestClassifiers has coturn's natdiscovery and Vovida's stun, each against its
// own server, name the NATs that they are behind, all at the same time. Who
// names one wrongly is asked again, twice at most: on a machine that stands
// still answers come late, and neither program knows late from never.
func TestClassifiers(t *testing.T) {
	known := map[string]bool{"home-alg": true, "symmetric-pooled": true}
	for _, k := range kinds {
		known[k.profile] = true
	}
	for _, p := range nat.Profiles() {
		if !known[p] {
			t.Errorf("what is %s to be called?", p)
		}
	}
	l, err := lab.New(lab.Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	l.CloseAfter(t)
	coturn := startCoturn(t, l)
	stund := startSTUND(t, l)
	type question struct {
		ask    func() func() string // starts the program
		answer func() string
		wrong  func(out string) string // what is
	}
	var questions [][2]question
	for i, k := range kinds {
		home := addHome(t, l, k.profile, i)
		both := [2]question{}
		if coturn != nil {
			both[0] = question{
				ask: func() func() string {
					return begin(t, home, "turnutils_natdiscovery", "-m", "-f", coturn.Addr().String())
				},
				wrong: func(out string) string { return wrongCoturn(out, k.mapping, k.filtering) },
			}
		}
		if stund != nil {
			both[1] = question{
				ask: func() func() string { return begin(t, home, "stun", stund.Addr().String()) },
				wrong: func(out string) string {
					if strings.Contains(out, "Primary: "+k.vovida) {
						return ""
					}
					return fmt.Sprintf("want %q", k.vovida)
				},
			}
		}
		for i, q := range both {
			if q.ask != nil {
				both[i].answer = q.ask()
			}
		}
		questions = append(questions, both)
	}
	for i, k := range kinds {
		for j, who := range []string{"coturn", "vovida"} {
			t.Run(k.profile+"/"+who, func(t *testing.T) {
				q := questions[i][j]
				if q.ask == nil {
					t.Skip("needs coturn, stun-client and stun-server")
				}
				out := q.answer()
				for try := 0; try < 2 && q.wrong(out) != ""; try++ {
					t.Logf("%s; once more:\n%s", q.wrong(out), out)
					out = q.ask()()
				}
				if wrong := q.wrong(out); wrong != "" {
					t.Errorf("%s:\n%s", wrong, out)
				}
			})
		}
	}
}

// begin starts a program that waits more than it works, and returns a function
// for what it has printed when it has ended, whatever its exit code.
func begin(t *testing.T, h *lab.Host, name string, args ...string) func() string {
	t.Helper()
	cmd := h.Command(waitTimeout(t, 2*time.Minute), name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() })
	return func() string {
		_ = cmd.Wait()
		return out.String()
	}
}

func addHome(t *testing.T, l *lab.Lab, profile string, i int) *lab.Host {
	t.Helper()
	cfg, ok := nat.Profile(profile)
	if !ok {
		t.Fatalf("no profile %q", profile)
	}
	external := netip.AddrFrom4([4]byte{198, 51, byte(100 + i), 10})
	addr := external
	if !cfg.NoTranslation {
		cfg.External = []netip.Addr{external}
		addr = inside
	}
	router, err := l.Router("router-"+profile, cfg, link.Config{})
	if err != nil {
		t.Fatal(err)
	}
	home, err := router.Host("home-"+profile, link.Config{}, addr)
	if err != nil {
		t.Fatal(err)
	}
	return home
}

// startServer runs a STUN server on two addresses of its own, or returns nil
// where it is not installed.
func startServer(t *testing.T, l *lab.Lab, name string, last byte, args func(a, b string) []string) *lab.Host {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		return nil
	}
	a, b := netip.AddrFrom4([4]byte{203, 0, 113, last}), netip.AddrFrom4([4]byte{203, 0, 113, last + 1})
	h, err := l.Host(name, link.Config{}, a, b)
	if err != nil {
		t.Fatal(err)
	}
	cmd := h.Command(t.Context(), name, args(a.String(), b.String())...)
	cmd.Dir = t.TempDir()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() })
	for _, port := range []uint16{3478, 3479} {
		if err := h.WaitReady(t.Context(), "udp", port); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func startCoturn(t *testing.T, l *lab.Lab, more ...string) *lab.Host {
	return startServer(t, l, "turnserver", 11, func(a, b string) []string {
		return append([]string{"-n", "--no-cli", "--no-tls", "--no-dtls", "-L", a, "-L", b,
			"--log-file", filepath.Join(t.TempDir(), "log"), "--simple-log", "--pidfile", filepath.Join(t.TempDir(), "pid")}, more...)
	})
}

func startSTUND(t *testing.T, l *lab.Lab) *lab.Host {
	return startServer(t, l, "stund", 21, func(a, b string) []string {
		return []string{"-h", a, "-a", b}
	})
}

var coturnSays = regexp.MustCompile(`NAT with (.*)!`)

// wrongCoturn tells what is wrong about natdiscovery's answer, if anything is.
func wrongCoturn(out, mapping, filtering string) string {
	if mapping == "" {
		if !strings.Contains(out, "STUN receive timeout") {
			return "want a timeout"
		}
		return ""
	}
	var got []string
	for _, m := range coturnSays.FindAllStringSubmatch(out, -1) {
		got = append(got, m[1])
	}
	if want := []string{mapping, filtering}; !slices.Equal(got, want) {
		return fmt.Sprintf("named %q, want %q", got, want)
	}
	return ""
}
