package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"shipworm/teredo"
	"shipworm/teredo/engine"
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

func shownStates() map[string]*shownState {
	server := netip.MustParseAddr("203.0.113.1")
	mapped := netip.MustParseAddrPort("198.51.100.10:52865")
	qualified := shownState{
		State: "qualified", Address: addressFor(server, mapped), ServerName: "teredo.example.net", Refresh: 30 * time.Second,
		Local: netip.MustParseAddrPort("192.168.0.218:52865"), Mapped: mapped,
	}
	open := qualified
	open.Local, open.Port = mapped, 34567
	unreachable := qualified
	unreachable.State = "unreachable"
	unreachable.Local = netip.MustParseAddrPort("192.168.0.218:50000")
	return map[string]*shownState{
		"qualified":   &qualified,
		"global":      &open,
		"unreachable": &unreachable,
		"offline":     {State: "offline", ServerName: "203.0.113.1", Refresh: 30 * time.Second},
		"probe":       {State: "qualifying", ServerName: "203.0.113.1", Refresh: 15 * time.Second},
		"dormant":     {State: "initial", ServerName: "203.0.113.1", Refresh: 30 * time.Second},
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
			if err := showState(&b, st); err != nil {
				t.Fatal(err)
			}
			golden(t, "teredo_show_"+name+".golden", b.Bytes())
		})
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
		},
		ServerName: "teredo.example.net", Local: netip.MustParseAddrPort("192.168.0.218:52865"),
	})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := printJSON(&b, json.RawMessage(raw)); err != nil {
		t.Fatal(err)
	}
	golden(t, "teredo_show.json.golden", b.Bytes())
}
