//go:build lab && linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// systemd finds nothing wrong with the shipped units. C-03
func TestUnitsVerify(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("needs Debian's package systemd: ", err)
	}
	units, _ := filepath.Glob("../../dist/systemd/*.service")
	for _, u := range units {
		b, err := os.ReadFile(u)
		if err != nil {
			t.Fatal(err)
		}
		// The program is not installed here.
		text := strings.ReplaceAll(string(b), "/usr/bin/shipworm", "/bin/true")
		file := filepath.Join(t.TempDir(), filepath.Base(u))
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", file).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", u, err, out)
		}
	}
}

// The shipped units expose 2.0 at most, by systemd's own reckoning. C-03
func TestUnitsExposure(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("needs Debian's package systemd: ", err)
	}
	units, err := filepath.Glob("../../dist/systemd/*.service")
	if err != nil || len(units) != 3 {
		t.Fatalf("%d units, want 3: %v", len(units), err)
	}
	for _, u := range units {
		// The threshold is in tenths; above it the program fails.
		out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", u).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", u, err, out)
		}
	}
}
