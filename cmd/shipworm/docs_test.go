package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestCommandsDocumented: every command explains itself and all its flags,
// and docs/commands.md says the same.
func TestCommandsDocumented(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Commands\n\nWhat `--help` says, of every command. Rewritten by `go test -run CommandsDocumented -update ./cmd/shipworm`.\n\n" +
		"Results go to stdout, progress and trouble to stderr. Exit codes: 0 ok, 1 failure, 2 usage, 3 negative result\n" +
		"(not qualified, no answer), 4 permission, 130 interrupted.\n")
	leaves := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
			return
		}
		if c.Short == "" {
			t.Errorf("%s: no short text", c.CommandPath())
		}
		if !c.HasSubCommands() {
			leaves++
			if c.Long == "" {
				t.Errorf("%s: no long text", c.CommandPath())
			}
			fmt.Fprintf(&b, "\n## %s\n\n%s\n\n```\n%s\n\n%s```\n", c.CommandPath(), strings.TrimSpace(c.Long), c.UseLine(), c.LocalFlags().FlagUsages())
			if c.Example != "" {
				fmt.Fprintf(&b, "\nExample:\n\n```\n%s\n```\n", strings.TrimRight(c.Example, "\n"))
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(systemConfig))
	if leaves < 10 {
		t.Fatalf("walked over %d commands only", leaves)
	}
	const path = "../../docs/commands.md"
	if *updateGolden {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(path); err != nil || string(have) != b.String() {
		t.Errorf("docs/commands.md is stale (%v): go test -run CommandsDocumented -update ./cmd/shipworm", err)
	}
}
