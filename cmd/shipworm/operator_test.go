package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"shipworm/internal/nic"
	"shipworm/teredo"
)

// No profiler and no page of variables is linked, so none can be reached, by a
// mistake in a mux either. C-10
func TestNoProfiler(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, "net/http") {
		t.Fatal("the list is not that of the program")
	}
	for _, p := range []string{"expvar", "net/http/pprof", "runtime/pprof", "net/http/httptest"} {
		if slices.Contains(deps, p) {
			t.Errorf("the program links %s", p)
		}
	}
}

// What keeps --tun from working is said with what to do about it; on a system
// that gives no addresses to such devices, that it does not.
func TestTUNErrors(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code int
		hint string
	}{
		{errors.ErrUnsupported, exitFailure, "TUN devices get addresses on Linux only"},
		{fs.ErrPermission, exitPermission, "run it with sudo, or as the service that comes with shipworm"},
		{fs.ErrExist, exitFailure, "another Teredo client or relay has the route: ip -6 route show 2001::/32"},
		{nic.ErrExists, exitUsage, ""},
		{nic.ErrName, exitUsage, ""},
	} {
		err := tunError(fmt.Errorf("teredo client: --tun: %w", tt.err))
		if code := exitCode(t.Context(), err); code != tt.code || hintOf(err) != tt.hint || !errors.Is(err, tt.err) {
			t.Errorf("%v: exit code %d, hint %q; want %d, %q", err, code, hintOf(err), tt.code, tt.hint)
		}
	}
}

// Names and units are as Prometheus's naming conventions have them: a prefix, a
// base unit, _total for what only grows; each name has one type and a sentence,
// its samples follow each other, and no series is there twice.
func TestMetricNames(t *testing.T) {
	st := *shownStates()["qualified"]
	st.HostDrops = map[string]uint64{"unsolicited": 1, "spoofed": 2}
	for role, collect := range map[string]func(*metrics){
		"client": func(m *metrics) { clientMetrics(m, st) },
		"server": func(m *metrics) { serverMetrics(m, teredo.ServerState{Sockets: make([]teredo.SocketStats, 2)}) },
		"relay":  func(m *metrics) { relayMetrics(m, teredo.RelayState{}) },
	} {
		var m metrics
		collect(&m)
		types, seen, last := map[string]string{}, map[string]bool{}, ""
		sample := regexp.MustCompile(`^([a-z_]+)(\{[a-z_]+="[^"\\\n]+"(?:,[a-z_]+="[^"\\\n]+")*\})? [0-9.e+-]+$`)
		for line := range strings.Lines(m.b.String()) {
			line = strings.TrimSuffix(line, "\n")
			switch f := strings.Fields(line); {
			case strings.HasPrefix(line, "# HELP "):
				if !strings.HasSuffix(line, ".") || len(f) < 5 {
					t.Errorf("%s: %q is no sentence", role, line)
				}
			case strings.HasPrefix(line, "# TYPE "):
				if types[f[2]] != "" {
					t.Errorf("%s: %s is there twice", role, f[2])
				}
				last, types[f[2]] = f[2], f[3]
				if strings.HasSuffix(f[2], "_total") != (f[3] == "counter") || !strings.HasPrefix(f[2], "shipworm_") ||
					regexp.MustCompile(`_(ms|ns|millis|kib|count|duration|rtt)(_|$)`).MatchString(strings.TrimSuffix(f[2], "_rtt_seconds")) {
					t.Errorf("%s: %s is no name for a %s", role, f[2], f[3])
				}
			default:
				name := sample.FindStringSubmatch(line)
				if name == nil || name[1] != last || seen[name[1]+name[2]] {
					t.Errorf("%s: %q, after those of %s", role, line, last)
					continue
				}
				seen[name[1]+name[2]] = true
			}
		}
		if len(types) < 6 || len(seen) < 20 {
			t.Errorf("%s: %d names, %d series", role, len(types), len(seen))
		}
	}
}

// The manual names the metrics that there are, and no others.
func TestMetricsDocumented(t *testing.T) {
	manual, err := os.ReadFile("../../docs/operation.md")
	if err != nil {
		t.Fatal(err)
	}
	var m metrics
	st := *shownStates()["qualified"]
	st.HostDrops = map[string]uint64{"unsolicited": 1}
	clientMetrics(&m, st)
	serverMetrics(&m, teredo.ServerState{})
	relayMetrics(&m, teredo.RelayState{})
	names := func(pattern, text string) []string {
		var list []string
		for _, f := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			list = append(list, f[1])
		}
		slices.Sort(list)
		return slices.Compact(list)
	}
	have, told := names(`(?m)^# TYPE (\S+) `, m.b.String()), names("(?m)^\\| `(shipworm_\\w+)`", string(manual))
	if !slices.Equal(have, told) {
		t.Errorf("there are\n%s\nthe manual has\n%s", strings.Join(have, "\n"), strings.Join(told, "\n"))
	}
}

// The file of the manual is one that the program takes. C-05
func TestConfigOfManual(t *testing.T) {
	manual, err := os.ReadFile("../../docs/operation.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(manual), "<<'END'\n")
	text, _, ok := strings.Cut(text, "END\n")
	if !ok {
		t.Fatal("no file in it")
	}
	path := writeConfig(t, text)
	for _, c := range []*cobra.Command{newTeredoClientCmd(systemConfig), newTeredoServerCmd(systemConfig), newTeredoRelayCmd(systemConfig)} {
		if err := c.ParseFlags([]string{"--config", path}); err != nil {
			t.Fatal(err)
		}
		if err := c.PreRunE(c, nil); err != nil {
			t.Errorf("%s: %v", c.Name(), err)
		}
	}
}
