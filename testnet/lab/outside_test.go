//go:build linux && !lab

package lab

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"shipworm/internal/leak"
)

// L-06: no goroutine is left of a laboratory that was refused.
func TestMain(m *testing.M) { goleak.VerifyTestMain(leak.Patient(m)) }

// L-01: no laboratory in the machine's own network, whatever the environment
// claims.
func TestRefusesMachine(t *testing.T) {
	for _, env := range []string{"", "main:1", "init:1", "main:", "main"} {
		t.Run(env, func(t *testing.T) {
			t.Setenv(marker, env)
			if l, err := New(Config{}); !errors.Is(err, ErrOutside) {
				t.Errorf("New: %v and %v, want %v", l, err, ErrOutside)
			}
		})
	}
}

// The machine's /etc/hosts is not the laboratory's to write.
func TestRefusesHostsFile(t *testing.T) {
	before, err := os.ReadFile(hostsFile)
	if err != nil {
		t.Skip("this machine has none: ", err)
	}
	if err := writeHosts([]hostName{{name: "intruder"}}); err == nil {
		t.Error("written")
	}
	if after, _ := os.ReadFile(hostsFile); !bytes.Equal(before, after) {
		t.Errorf("changed to %q", after)
	}
}

func TestWithoutMarker(t *testing.T) {
	env := []string{"A=1", marker + "=main:1", "B=" + marker, marker + "_OTHER=2"}
	want := []string{"A=1", "B=" + marker, marker + "_OTHER=2"}
	if got := withoutMarker(env); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBound(t *testing.T) {
	const head = "  sl  local_address rem_address   st tx_queue\n"
	tests := []struct {
		name  string
		table string
		tcp   bool
		port  uint16
		want  bool
	}{
		{"listening", head + "   0: 00000000:0050 00000000:0000 0A 0\n", true, 80, true},
		{"another port", head + "   0: 00000000:0050 00000000:0000 0A 0\n", true, 81, false},
		{"any port", head + "   0: 00000000:0050 00000000:0000 0A 0\n", true, 0, true},
		{"connected", head + "   0: 0100007F:0050 0100007F:C350 01 0\n", true, 80, false},
		{"bound UDP", head + "   0: 00000000:0035 00000000:0000 07 0\n", false, 53, true},
		{"IPv6", head + "   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 0\n", true, 8080, true},
		{"empty", head, true, 0, false},
		{"damaged", head + "   0: 0050\n   1: x:y z 0A\n", true, 80, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "table")
			if err := os.WriteFile(file, []byte(tt.table), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := bound(file, tt.tcp, tt.port)
			if err != nil || got != tt.want {
				t.Errorf("got %v and %v, want %v", got, err, tt.want)
			}
		})
	}
}

// Nobody waits for ever at a network of which the kernel keeps no table.
func TestReadyUnknownNetwork(t *testing.T) {
	h := &Host{name: "pc"}
	for _, network := range []string{"", "udp4", "tcp6", "unix", "../tcp"} {
		if err := h.WaitReady(t.Context(), network, 53); err == nil || t.Context().Err() != nil {
			t.Errorf("%q: %v", network, err)
		}
	}
}
