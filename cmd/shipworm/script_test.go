package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the test binary stand in for the shipworm binary: scripts
// call `exec shipworm ...` and get a process of its own.
func TestMain(m *testing.M) {
	if code, done := beforeTests(); done {
		os.Exit(code)
	}
	if file := os.Getenv(frailEnv); file != "" {
		os.Exit(frail(file))
	}
	testscript.Main(m, map[string]func(){
		"shipworm": func() { os.Exit(run(os.Args[1:])) },
	})
}

// TestScripts runs every command line of testdata/script. A file is named
// after the group that it tests: testnet_list.txt, ra_invite.txt. Among them
// are secrets on the command line, which are refused and not repeated. C-01
//
// Besides what testscript brings there are:
//
//	[lab]                        true under the build tag lab, for scripts that
//	                             need namespaces or Debian packages
//	status CODE program args...  like exec, and the exit code must be CODE
//	until PATTERN program args...
//	                             like exec, and stdout must match PATTERN. What
//	                             fails or says "unknown" is tried again, five
//	                             times in all: machines may stand still
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error { // nobody asks the machine's client, or that of another script
			dir := filepath.Join(e.WorkDir, ".run")
			e.Setenv("RUNTIME_DIRECTORY", dir)
			return os.Mkdir(dir, 0o700)
		},
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Cmds:          map[string]func(*testscript.TestScript, bool, []string){"status": scriptStatus, "until": scriptUntil},
		Condition: func(cond string) (bool, error) {
			if cond == "lab" {
				return labEnabled, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
	})
}

// scriptStatus exists because exec only tells success from failure, while the
// meaning of each exit code is part of the command line's contract.
func scriptStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status code program [args...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s ended with exit code %d, want %d", args[1], got, want)
	}
}

func scriptUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until pattern program [args...]")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for range 5 {
		err = ts.Exec(args[1], args[2:]...)
		switch out := ts.ReadFile("stdout"); {
		case err == nil && pattern.MatchString(out):
			return
		case err == nil && !strings.Contains(out, "unknown"):
			ts.Fatalf("no match for %s", args[0])
		}
	}
	ts.Fatalf("five times without %s, at last with %v", args[0], err)
}
