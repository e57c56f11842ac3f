package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"shipworm/teredo"
	"shipworm/teredo/engine"
	"shipworm/teredo/stack"
	"shipworm/teredo/wire"
)

var updateGolden = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *updateGolden {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; got:\n%s\nwant:\n%s", path, got, want)
	}
}

func shownStates() map[string]*teredo.State {
	server := netip.MustParseAddr("203.0.113.1")
	mapped := netip.MustParseAddrPort("198.51.100.10:52865")
	state := func(s engine.State, name string, refresh time.Duration) teredo.State {
		return teredo.State{ClientState: engine.ClientState{State: s, Refresh: refresh}, ServerName: name}
	}
	qualified := state(engine.Ready, "teredo.example.net", 30*time.Second)
	qualified.Address, qualified.Mapped = addressFor(server, mapped), mapped
	qualified.Local = netip.MustParseAddrPort("192.168.0.218:52865")
	qualified.NAT, qualified.Secondary = wire.NATIndependent, netip.MustParseAddr("203.0.113.2")
	cone, restricted := qualified, qualified
	cone.Filtering, restricted.Filtering = engine.FilteringNone, engine.FilteringRestricted
	symmetric := qualified
	symmetric.NAT, symmetric.Forward = wire.NATRandom, mapped
	open := qualified
	open.Local, open.Port = mapped, 34567
	unreachable := qualified
	unreachable.NAT = wire.NATUnknown
	unreachable.ClientState.State = engine.Unreachable
	unreachable.Local = netip.MustParseAddrPort("192.168.0.218:50000")
	offline := state(engine.Offline, "203.0.113.1", 30*time.Second)
	probe := state(engine.Qualifying, "203.0.113.1", 15*time.Second)
	dormant := state(engine.Initial, "203.0.113.1", 30*time.Second)
	return map[string]*teredo.State{
		"qualified":   &qualified,
		"cone":        &cone,
		"restricted":  &restricted,
		"symmetric":   &symmetric,
		"global":      &open,
		"unreachable": &unreachable,
		"offline":     &offline,
		"probe":       &probe,
		"dormant":     &dormant,

		"managed":          &qualified,
		"offline_managed":  &offline,
		"offline_disabled": &offline,
	}
}

func addressFor(server netip.Addr, mapped netip.AddrPort) teredo.Address {
	a, err := teredo.ParseAddress("2001:0:cb00:7101:3023:317e:39cc:9bf5")
	if err != nil || a.Server() != server || a.Mapped() != mapped {
		panic("the test's address does not fit its mapping")
	}
	return a
}

// The text is netsh's, to the byte. C-09
func TestShowState(t *testing.T) {
	for name, st := range shownStates() {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			shown := shownState{Type: typeDefault, State: *st}
			switch name {
			case "managed":
				shown.Type, shown.Managed = typeEnterprise, true
			case "offline_managed":
				shown.Managed = true
			case "offline_disabled":
				shown.Type = typeDisabled
			}
			if err := showState(&b, &shown); err != nil {
				t.Fatal(err)
			}
			golden(t, "teredo_show_"+name+".golden", b.Bytes())
		})
	}
}

// Every line of every golden file is one that netsh was seen to print, label and
// value. Three kinds of NAT are not: netsh claimed to know more than anybody
// tried. C-09
func TestNetshWords(t *testing.T) {
	values := map[string]string{
		"Type":                    "client|enterpriseclient|natawareclient|disabled|default",
		"Server Name":             `[a-z0-9.-]+`,
		"Client Refresh Interval": `\d+ seconds`,
		"Client Port":             `unspecified|\d+`,
		"State":                   `offline|dormant|probe \(primary server\)|qualified`,
		"Client Type":             "teredo client",
		"Network":                 "managed|unmanaged",
		"NAT":                     `none \(global connectivity\)|cone|restricted` + "|cone or restricted|symmetric|unknown",
		"NAT Special Behaviour":   "UPNP: (Yes|No), PortPreserving: (Yes|No)",
		"Local Mapping":           `[0-9.]+:(\d+|PORT)`,
		"External NAT Mapping":    `[0-9.]+:(\d+|PORT)`,
		"Error":                   "none|client is in a managed network|primary( / secondary)? teredo server cannot be reached over UDP",
	}
	files, err := filepath.Glob("testdata/teredo_show_*.golden")
	if err != nil || len(files) < 12 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			line = strings.TrimSuffix(line, "\n")
			if line == "" || strings.HasPrefix(line, "== ") || line == "Teredo Parameters" || line == strings.Repeat("-", 45) {
				continue
			}
			label, value, _ := strings.Cut(line, ": ")
			want, ok := values[strings.TrimRight(label, " ")]
			if !ok || len(label) != labelWidth || !regexp.MustCompile("^("+want+")$").MatchString(value) {
				t.Errorf("%s: netsh prints no %q", f, line)
			}
		}
	}
}

// The JSON is a schema: keys may be added, none may change. C-09
func TestShownJSON(t *testing.T) {
	mapped := netip.MustParseAddrPort("198.51.100.10:52865")
	server := netip.MustParseAddr("203.0.113.1")
	raw, err := shownJSON(teredo.State{
		ClientState: engine.ClientState{
			State: engine.Ready, Address: addressFor(server, mapped), Mapped: mapped, Server: server, Refresh: 30 * time.Second,
			QualifiedAfter: 53 * time.Millisecond, RTT: 50 * time.Millisecond, Solicitations: 1,
			Drops: engine.Drops{engine.DropLoop: 3},
		},
		ServerName: "teredo.example.net", Local: netip.MustParseAddrPort("192.168.0.218:52865"),
		HostDrops: map[string]uint64{stack.DropClosedPort.String(): 2},
	}, typeDefault, false)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := printJSON(&b, json.RawMessage(raw)); err != nil {
		t.Fatal(err)
	}
	golden(t, "teredo_show.json.golden", b.Bytes())
	var back shownState
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	if again, err := shownJSON(back.State, back.Type, back.Managed); err != nil || !bytes.Equal(again, raw) {
		t.Errorf("read and written again: %s, %v\nwas %s", again, err, raw)
	}
}

// The lines of --verbose name every reason, also those that never applied, 25
// at least. T-36
func TestShowCounters(t *testing.T) {
	st := shownStates()["qualified"]
	st.Sent, st.Received, st.HostDrops = 12, 34, map[string]uint64{"unsolicited": 5, "spoofed": 1}
	st.Drops[engine.DropLoop] = 3
	var b bytes.Buffer
	if err := showCounters(&b, st); err != nil {
		t.Fatal(err)
	}
	for i := engine.Drop(0); i < engine.DropServerLoop; i++ {
		if want := fmt.Sprintf("\n%-24s: %d\n", i, st.Drops[i]); !strings.Contains(b.String(), want) {
			t.Errorf("no line %q", want)
		}
	}
	for _, want := range []string{"\nPackets Sent            : 12\n", "\nspoofed                 : 1\nunsolicited             : 5\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no line %q in\n%s", want, &b)
		}
	}
	if engine.DropServerLoop < 25 {
		t.Errorf("%d reasons, want 25", engine.DropServerLoop)
	}
}

// A type is shown in netsh's words, "default" as what it means.
func TestTypeWords(t *testing.T) {
	for in, want := range map[clientType]clientType{"": "client", "default": "client", "enterpriseclient": "enterpriseclient", "disabled": "disabled"} {
		if got := typeWord(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
	var typ clientType
	if err := typ.Set("server"); err == nil {
		t.Error("a server is no client")
	}
}

// Without a client, a configuration that forbids one is shown as netsh shows it,
// and nothing is sent. C-09
func TestShowForbidden(t *testing.T) {
	for name, tt := range map[string]struct{ config, want string }{
		"disabled": {"[client]\ntype = \"disabled\"\nserver = \"t.example, 203.0.113.2\"\nrefresh = 20\nopen = [\"tcp/22\"]\n",
			"Type                    : disabled\nServer Name             : t.example\nClient Refresh Interval : 20 seconds\nClient Port             : unspecified\n" +
				"State                   : offline\nError                   : none\n"},
		"managed": {"[client]\nnetwork = \"domain\"\nserver = \"t.example\"\nport = 34567\n",
			"Type                    : client\nServer Name             : t.example\nClient Refresh Interval : 30 seconds\nClient Port             : 34567\n" +
				"State                   : offline\nError                   : client is in a managed network\n"},
		"enterprise": {"[client]\nnetwork = \"domain\"\ntype = \"enterpriseclient\"\n", ""},
		"free":       {"[client]\nserver = \"t.example\"\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := ownConfig(t, tt.config).notRunning()
			if err != nil || (raw == nil) != (tt.want == "") {
				t.Fatalf("%s, %v", raw, err)
			}
			if raw == nil {
				return
			}
			st := parseShown(t, raw)
			var b bytes.Buffer
			if err := showState(&b, &st); err != nil || !strings.HasSuffix(b.String(), tt.want) {
				t.Errorf("%v\n%s\nwant\n%s", err, &b, tt.want)
			}
		})
	}
}

// A client that runs for the moment of a show is shown with the type and the
// port of the configuration. C-09
func TestShownSettings(t *testing.T) {
	set, err := ownConfig(t, "[client]\ntype = \"enterpriseclient\"\nnetwork = \"domain\"\nport = 34567\n").client()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := set.shown(*shownStates()["qualified"])
	if err != nil {
		t.Fatal(err)
	}
	st := parseShown(t, raw)
	var b bytes.Buffer
	if err := showState(&b, &st); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Type                    : enterpriseclient\n", "Client Port             : 34567\n", "Network                 : managed\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
}

func parseShown(t *testing.T, raw []byte) (st shownState) {
	t.Helper()
	if err := json.Unmarshal(raw, &st); err != nil {
		t.Fatal(err)
	}
	return st
}
