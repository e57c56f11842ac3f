package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shipworm/teredo/wire"
	"shipworm/testnet/scenario"
)

// A trace names what Teredo sends, and takes nothing else for Teredo.
func TestTeredoWords(t *testing.T) {
	src, dst := netip.MustParseAddr("fe80::1"), netip.MustParseAddr("2001:0:cb00:7101:0:63be:39cc:9bf8")
	bubble := wire.AppendBubble(nil, src, dst, 0)
	tests := []struct {
		name string
		b    []byte
		want string
	}{
		{"bubble", bubble, "Teredo bubble"},
		{"bubble passed on", append(wire.AppendOrigin(nil, netip.MustParseAddrPort("198.51.100.10:4096")), bubble...), "Teredo bubble, passed on"},
		{"empty", nil, ""},
		{"text", []byte("what is this?"), ""},
		{"DNS", []byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01"), ""},
		{"zeros", make([]byte, 56), ""},
	}
	for _, tt := range tests {
		if got := teredoWords(tt.b); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// The ladder of two homes has every step of Teredo by its name.
func TestTeredoLadder(t *testing.T) {
	s, err := scenario.Load("../../docs/scenarios/two-homes.toml")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "new", "folder")
	rec, err := newTrace("test", dir)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the folder has %v, %v; want nothing yet", left, err)
	}
	simulateScenario(t, s, scenario.Options{Recorder: rec})
	if err := rec.Save(dir); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "ladder.mmd"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Teredo router solicitation", "Teredo router advertisement", "Teredo bubble", "Teredo data"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %q on the ladder", want)
		}
	}
}
