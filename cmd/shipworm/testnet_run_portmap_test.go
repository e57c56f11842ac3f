package main

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"shipworm/testnet/scenario"
)

// A port opens in virtual time by whichever protocol the router speaks, and
// opens again when the router says that it has lost everything; one that says
// nothing is noticed with the next renewal only.
func TestScenarioPortMap(t *testing.T) {
	src, err := os.ReadFile(scenarioDir + "/port-map.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		igd      string
		external string // "" = none
		answers  int
	}{
		{"miniupnpd", "11.0.0.10:5000", 10},
		{"pcp-only", "11.0.0.10:5000", 10},
		{"natpmp-only", "11.0.0.10:5000", 10},
		{"silent-to-pcp", "11.0.0.10:5000", 10}, // asked twice over
		{"other-port", "11.0.0.10:20570", 0},    // where nobody pings
		{"silent-restart", "11.0.0.10:5000", 4},
		{"upnp-only", "", 0},
		{"pcp-not-authorized", "", 0},
		{"lifetime-zero", "", 0},
		{"external-port-zero", "", 0},
		{"stranger-answers", "", 0},
	} {
		t.Run(tt.igd, func(t *testing.T) {
			s, err := scenario.Parse([]byte(strings.Replace(string(src), "miniupnpd", tt.igd, 1)))
			if err != nil {
				t.Fatal(err)
			}
			r := simulateScenario(t, s, scenario.Options{})
			if got := r.Programs[1]; got.Kind != scenario.PortMap || got.Mapped != tt.external {
				t.Errorf("%s: mapping %q, want %q", got.Name, got.Mapped, tt.external)
			}
			want := ""
			if tt.igd == "pcp-not-authorized" {
				want = "refused by PCP: NOT_AUTHORIZED"
			}
			if got := r.Programs[1].Note; got != want {
				t.Errorf("it says %q, want %q", got, want)
			}
			if got := len(r.Programs[3].RTTs); got != tt.answers {
				t.Errorf("%d answers, want %d", got, tt.answers)
			}
		})
	}
}

// What `upnp add --keep --json` prints is understood.
func TestScenarioPortMapLine(t *testing.T) {
	const made = `{"schema":1,"protocol":"UDP","internal":"192.168.1.2:5000","external":"11.0.0.10:5001","via":"PCP"}`
	var m portMapLine
	for _, tt := range []struct {
		line string
		ok   bool
		want string
	}{
		{made, true, "11.0.0.10:5001"},
		{`{"schema":1,"lost":true}`, true, ""},
		{`{"schema":2,"external":"11.0.0.10:5001"}`, false, ""},
		{`UDP 11.0.0.10:5001`, false, ""},
	} {
		var want netip.AddrPort
		if tt.want != "" {
			want = netip.MustParseAddrPort(tt.want)
		}
		if ok := m.read(tt.line); ok != tt.ok || ok && m.External != want {
			t.Errorf("%s: %v, %v", tt.line, ok, m.External)
		}
	}
}
