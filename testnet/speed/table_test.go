//go:build linux

package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The three faces of one report of made-up values: a goal that is met, one that
// is not, one that was not measured, a path that was left out, one that failed
// throughout and one that did in a round.
func TestReport(t *testing.T) {
	b := &bench{
		stage: &stage{
			cfg:     &config{rounds: 3, command: "go run ./testnet/speed"},
			missing: []string{"Miredo's relay: a test"}, notes: []string{"A note."},
		},
		machine: machine{CPU: "Some CPU", Cores: 2, Kernel: "6.1", Go: "go1.26", Date: "2026-01-02", Load: 0.25},
	}
	for _, s := range []struct {
		test, path string
		values     []float64 // 0 for a failure
	}{
		{"tcp1", "Miredo", []float64{2, 2.5, 0.9}},
		{"tcp1", "shipworm TUN", []float64{20, 30, 10}},
		{"tcp1", "naive tunnel", []float64{4, 0, 2.5}},
		{"tcp1", "shipworm relay, client to node", []float64{12, 13, 14}},
		{"tcp1", "shipworm stack to stack", []float64{0, 0, 0}},
		{"tcp1", "shipworm TUN, no-USO wire", []float64{8, 9, 10}},
		{"tcp1", "shipworm TUN, GRO wire", []float64{12, 15, 9}},
		{"tcp1", "Miredo, GRO wire", []float64{2, 3, 2}},
		{"cpu-tx", "shipworm TUN", []float64{300, 340, 900}},
		{"cpu-tx", "shipworm TUN, GRO wire", []float64{600, 700, 500}},
		{"allocs-tx", "shipworm TUN, GRO wire", []float64{1, 1, 1}}, // measured along with the others, and not told
		{"udp", "shipworm TUN", []float64{300.5, 340, 290}},
		{"rss", nameClient + idle, []float64{18.5}},
	} {
		for i, v := range s.values {
			if b.round = i + 1; v == 0 {
				b.fail(s.test, s.path, errors.New("stack in b: tcp: no answer within 15s"))
			} else {
				b.add(s.test, s.path, v)
			}
		}
	}
	b.fail("tcp1", "Miredo relay, client to node", leftOutError{errors.New("not installed")})
	r := b.report()
	for name, write := range map[string]func(io.Writer) error{
		"report.txt": r.writeText, "report.json": r.writeJSON,
		"report.md": func(w io.Writer) error {
			var page strings.Builder
			r.writeMarkdown(&page)
			_, err := io.WriteString(w, strings.Replace(page.String(), limits, "(limits.md)\n", 1))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := write(&out); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), out.String()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	for _, c := range []struct {
		name string
		row  line
		want bool
	}{
		{"figures", line{N: 3}, false},
		{"a round failed", line{N: 2, Failed: []string{"round 1: why"}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := (report{Rows: []line{c.row}}).failures(); (err != nil) != c.want {
				t.Error(err)
			}
		})
	}
}

// Ratios are within a round, and of the rounds that both have.
func TestRatio(t *testing.T) {
	series := func(values ...float64) (out []point) {
		for i, v := range values {
			if v >= 0 {
				out = append(out, point{i + 1, v})
			}
		}
		return out
	}
	const none = -1
	for _, c := range []struct {
		name         string
		values, base []point
		want         *spread
	}{
		{"within rounds, not of medians", series(10, 100, 20), series(1, 50, 1), &spread{10, 2, 20}},
		{"of an even number", series(1, 3), series(1, 1), &spread{2, 1, 3}},
		{"no base", series(1), nil, nil},
		{"rounds without one", series(1, none, 9), series(none, 5, 3), &spread{3, 3, 3}},
		{"no round with both", series(1, none), series(none, 1), nil},
		{"base of nothing", series(1), series(0), nil},
		{"of nothing", series(0), series(2), &spread{0, 0, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, ratio(c.values, c.base)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Goals and kinds name what there is.
func TestNames(t *testing.T) {
	tested := map[string]figure{}
	for _, x := range tests {
		i := slices.IndexFunc(figures, func(f figure) bool { return f.name == x.figure })
		if i < 0 {
			t.Fatalf("test %s: no figure %s", x.name, x.figure)
		}
		tested[x.name] = figures[i]
	}
	for _, g := range goals {
		if tested[g.test].name == "" || g.path != "" && find(g.path) == nil || g.base != "" && find(g.base) == nil || (g.path == "") == (g.program == "") {
			t.Errorf("goal %q: test %s, path %q or program %q, base %q", g.name, g.test, g.path, g.program, g.base)
		}
		if (g.least == 0) == (g.most == 0) {
			t.Errorf("goal %q: neither least nor most, or both", g.name)
		}
		for _, id := range []string{g.path, g.base} {
			if id != "" && (g.wire > find(id).last || g.wire > tested[g.test].last) {
				t.Errorf("goal %q: %s of %s is not taken on the %s", g.name, g.test, id, cables[g.wire].name)
			}
		}
	}
	for _, k := range kinds {
		for _, id := range []string{k.miredo, k.naive} {
			if id != "" && (find(id) == nil || find(id).last < k.last) {
				t.Errorf("%s is compared with %q, which is not there on every wire", k.id, id)
			}
		}
	}
	for _, s := range (&stage{}).steps() {
		for _, id := range s.paths {
			if find(id) == nil {
				t.Errorf("%s: no path %s", s.what, id)
			}
		}
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args string
		want string // part of the error; empty for none
	}{
		{"", ""},
		{"--only ping,udp --paths tun,miredo --rounds 4", ""},
		{"--only pong", `no "pong"`},
		{"--paths tun,,miredo", `no ""`},
		{"--rounds -1", "not 1 to 1000"},
		{"--rounds 2000 --paths x", `no "x"`},
		{"--rouns 1", "rouns"},
		{"tun", "no arguments"},
		{"--wire no-uso", ""},
		{"--wire uso,gro", ""},
		{"--wire none", `no "none"`},
		{"--help", errHelp.Error()},
	} {
		t.Run(c.args, func(t *testing.T) {
			_, err := parse(strings.Fields(c.args), io.Discard)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// What is asked for is taken on the wires where it says something.
func TestWires(t *testing.T) {
	for _, c := range []struct {
		args, figure        string
		uso, noUSO, withGRO bool
	}{
		{"", "tcp1", true, true, true},
		{"", "cpu", true, true, true},
		{"", "udp", true, true, false},
		{"", "ping", true, false, false},
		{"--only cpu", "tcp1", false, false, false},
		{"--only cpu", "cpu", true, true, true},
		{"--wire no-uso", "cpu", false, true, false},
		{"--wire uso,gro", "cpu", true, false, true},
	} {
		t.Run(c.args+" "+c.figure, func(t *testing.T) {
			config, err := parse(strings.Fields(c.args), io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			for w, want := range []bool{uso: c.uso, noUSO: c.noUSO, gro: c.withGRO} {
				if got := config.carries(cable(w)) && config.wants(cable(w), c.figure); got != want {
					t.Errorf("%s: %v", cables[w].name, got)
				}
			}
		})
	}
}

// A search comes close to the rate of a path from below, wherever it begins,
// also where the sender is what limits.
func TestSearch(t *testing.T) {
	for _, c := range []struct {
		name         string
		path, sender float64
	}{
		{"path limits", 400e3, 1e9},
		{"sender limits", 1e9, 300e3},
		{"slow path", 9e3, 1e9},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &search{rate: 50e3}
			limit := min(c.path, c.sender)
			for round := range 3 {
				if round > 0 {
					s = s.again()
				}
				for range 8 {
					sent := min(s.rate, c.sender)
					s.tried(min(sent, c.path), sent <= c.path)
				}
			}
			if s.good > limit || s.good < 0.85*limit {
				t.Errorf("found %.0f of %.0f", s.good, limit)
			}
		})
	}
}
