package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"shipworm/ra"
	"shipworm/ra/invite"
)

// execute runs a command line on a host with that system configuration.
func execute(t *testing.T, system systemFile, line ...string) (stdout string, err error) {
	t.Helper()
	root := newRoot(system)
	root.SetArgs(line)
	var out, errs bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&errs)
	err = root.ExecuteContext(t.Context())
	return out.String(), err
}

// One key of the system's configuration disables every use of Teredo, whatever
// the command line and the user's own configuration say; so does a file that
// does not tell. T-28
func TestPolicyDisablesAll(t *testing.T) {
	own := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", own)
	t.Setenv("RUNTIME_DIRECTORY", t.TempDir()) // nobody asks a client that runs on this machine
	t.Setenv(teredoServerEnv, "203.0.113.1")
	if err := os.MkdirAll(filepath.Join(own, "shipworm"), 0o700); err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(own, "shipworm", "teredo.toml")
	if err := os.WriteFile(mine, []byte("[client]\ntype = \"enterpriseclient\"\n[server]\nlisten = [\"203.0.113.1\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	disabled := systemFile(writeConfig(t, "[client]\ntype = \"disabled\"\nserver = \"203.0.113.1\"\n"))
	broken := systemFile(writeConfig(t, "[client\n"))
	for _, line := range []string{
		"teredo client", "teredo client --server 203.0.113.1 --force --type enterpriseclient", "teredo client --config " + mine,
		"teredo server --listen 203.0.113.1", "teredo server --config " + mine, "teredo relay --tun shipwormtest0",
		"teredo ping 2001:0:cb00:7178:0:efff:3fff:fdfe --server 203.0.113.1", "teredo show --server 203.0.113.1",
	} {
		_, err := execute(t, disabled, strings.Fields(line)...)
		if !errors.Is(err, errTeredoDisabled) || exitCode(t.Context(), err) != exitNegative || !strings.Contains(hintOf(err), string(disabled)) {
			t.Errorf("%s: %v, exit code %d, hint %q", line, err, exitCode(t.Context(), err), hintOf(err))
		}
		if _, err := execute(t, broken, strings.Fields(line)...); exitCode(t.Context(), err) != exitUsage || !strings.Contains(err.Error(), string(broken)) {
			t.Errorf("%s, with a broken file: %v", line, err)
		}
	}
	for _, line := range []string{"teredo show", "netsh interface teredo show state", "netsh int ipv6 show teredo"} {
		out, err := execute(t, disabled, strings.Fields(line)...)
		if exitCode(t.Context(), err) != exitNegative || !strings.Contains(out, "Type                    : disabled\n") || !strings.Contains(out, "State                   : offline\n") {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
	}
}

// Remote Assistance goes without Teredo where it is disabled, says so, and has
// no way where there is no other. T-28
func TestPolicyOfRA(t *testing.T) {
	disabled := systemFile(writeConfig(t, "[client]\ntype = \"disabled\"\n"))
	flags := teredoFlags{system: disabled, server: "203.0.113.1"}
	var said bytes.Buffer
	e := newRAEndpoints(nil, &said)
	defer e.close()
	tunnel := e.teredo(flags, slog.New(slog.DiscardHandler))
	if err := e.open(t.Context(), []raSource{tunnel}); !errors.Is(err, errTeredoDisabled) || exitCode(t.Context(), err) != exitNegative {
		t.Errorf("an invitation with nothing but Teredo: %v", err)
	}
	loopback := raSource{invite.LAN, func(ctx context.Context) (ra.Endpoint, error) {
		return e.kernel(invite.LAN, netip.MustParseAddr("127.0.0.1")).open(ctx)
	}}
	if err := e.open(t.Context(), []raSource{loopback, tunnel}); err != nil || len(e.list) != 1 || said.String() != "without teredo: teredo: disabled on this host\n" {
		t.Errorf("an invitation with another way: %v, %v, it said %q", err, e.list, &said)
	}
	f := raOpenFlags{raFlags: raFlags{system: disabled}}
	if err := f.teredoOff(0); !errors.Is(err, errTeredoDisabled) {
		t.Errorf("opening one: %v", err)
	}
	if _, err := teredoView(flags)(t.Context()); !errors.Is(err, errTeredoDisabled) {
		t.Errorf("a probe: %v", err)
	}
}

// What runs when the policy comes ends within seconds, with its reason; a file
// that is being written ends nothing. T-28
func TestPolicyEndsWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := writeConfig(t, "[client]\nserver = \"203.0.113.1\"\n")
		ctx, stop := systemFile(path).guard(t.Context())
		defer stop()
		for _, text := range []string{"[client]\ntype = \"client\"\n", "[client]\ntype = \"disa"} {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if err := context.Cause(ctx); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
		}
		if err := os.WriteFile(path, []byte("[client]\ntype = \"disabled\"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		time.Sleep(policyEvery + time.Millisecond)
		if err := teredoError(ctx, errors.New("whatever")); !errors.Is(err, errTeredoDisabled) || exitCode(t.Context(), err) != exitNegative {
			t.Errorf("ended by %v", err)
		}
	})
}
