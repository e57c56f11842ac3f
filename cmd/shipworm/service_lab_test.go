//go:build lab && linux

package main

import (
	"os/exec"
	"path/filepath"
	"testing"
)

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
