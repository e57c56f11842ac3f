//go:build lab && linux

package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Every example of the documentation holds in the laboratory too, with nothing
// skipped. (L-04)
func TestScenarioExamplesInLab(t *testing.T) {
	files, err := filepath.Glob(scenarioDir + "/*.toml")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".toml"), func(t *testing.T) {
			t.Parallel() // most of the time they wait
			out, err := exec.Command("shipworm", "testnet", "run", file, "--lab", "--verbose").CombinedOutput()
			if err != nil || !strings.Contains(string(out), " held, 0 failed, 0 skipped, ") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
