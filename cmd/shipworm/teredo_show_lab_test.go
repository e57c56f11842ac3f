//go:build lab && linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/testnet/lab"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

// TestShow runs TestShowAsNobody inside the namespaces.
func TestShow(t *testing.T) {
	t.Parallel()
	runInLab(t, "TestShowAsNobody")
}

// TestShowAsNobody takes the system's client through every state that netsh
// names, and reads each as a user without any right: netsh's words, to the byte
// but for ports. What was found out beside the way to an address is shown too:
// the kind of NAT and the interval; and the drop counters count. T-32 T-36 C-09
func TestShowAsNobody(t *testing.T) {
	if os.Getenv(inLab) == "" {
		t.Skip("TestShow runs it, inside the namespaces")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	l, err := lab.New(lab.Config{Seed: 1})
	must(t, err)
	l.CloseAfter(t)
	syscall.Umask(0o022)                              // nobody reads the files
	dir, err := os.MkdirTemp("/tmp", "shipworm-show") // TMPDIR may be its owner's alone
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	bin := filepath.Join(dir, "shipworm")
	b, err := os.ReadFile(shipworm(t))
	must(t, err)
	must(t, os.WriteFile(bin, b, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "resolv.conf"), []byte("nameserver 203.0.113.53\n"), 0o644)) // nobody's

	first, second := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")
	internet, err := l.Host("server", link.Config{}, first, second)
	must(t, err)
	server := internet.Command(context.Background(), bin, "teredo", "server", "--listen", first.String(), "--listen", second.String())
	must(t, server.Start())
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	must(t, internet.WaitReady(t.Context(), "udp", 3544))
	evil, err := l.Host("evil", link.Config{}, netip.MustParseAddr("198.51.100.66"))
	must(t, err)

	var text strings.Builder
	ports := regexp.MustCompile(`(\.\d+):\d+`)
	note := func(title, out string) {
		fmt.Fprintf(&text, "== %s\n%s\n", title, ports.ReplaceAllString(out, "$1:PORT"))
	}
	for i, kind := range []string{"cone", "port-restricted", "symmetric"} {
		t.Run(kind, func(t *testing.T) {
			cfg, _ := nat.Profile(kind)
			cfg.External = []netip.Addr{netip.AddrFrom4([4]byte{198, 51, 100, byte(10 + i)})}
			r, err := l.Router("router-"+kind, cfg, line)
			must(t, err)
			home, err := r.Host("home-"+kind, link.Config{}, netip.MustParseAddr("192.168.1.2"))
			must(t, err)
			run := filepath.Join(dir, kind)
			must(t, os.Mkdir(run, 0o755))
			env := append(os.Environ(), "RUNTIME_DIRECTORY="+run, "STATE_DIRECTORY="+run, "HOME=/nonexistent", "XDG_CONFIG_HOME=/nonexistent")
			start := func(config string, args ...string) *lab.Cmd {
				t.Helper()
				must(t, os.WriteFile(filepath.Join(run, "teredo.toml"), []byte(config), 0o644))
				line := `mount --bind ` + dir + `/resolv.conf /etc/resolv.conf && exec "$0" "$@"`
				c := home.Command(context.Background(), "unshare", append([]string{"-m", "sh", "-c", line, bin, "teredo", "client", "--config", filepath.Join(run, "teredo.toml"), "--no-upnp"}, args...)...)
				c.Env = env
				must(t, c.Start())
				t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
				return c
			}
			show := func(args ...string) (string, int) {
				t.Helper()
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				c := home.Command(ctx, "setpriv", append([]string{"--reuid", "65534", "--regid", "65534", "--clear-groups", bin}, args...)...)
				c.Env = env
				var out bytes.Buffer
				c.Stdout = &out
				_ = c.Run()
				return out.String(), c.ProcessState.ExitCode()
			}
			until := func(what string) (string, int) {
				t.Helper()
				for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
					out, code := show("netsh", "interface", "teredo", "show", "state")
					if strings.Contains(out, what) {
						return out, code
					}
					if time.Now().After(end) {
						t.Fatalf("no %q after %v:\n%s", what, patience, out)
					}
				}
			}
			state := func(name, what string, wantCode int) {
				t.Helper()
				out, code := until(what)
				if code != wantCode {
					t.Errorf("%s: exit code %d, want %d", name, code, wantCode)
				}
				note(kind+": "+name, out)
			}

			if kind != "cone" {
				start("[client]\nserver = \"203.0.113.1,203.0.113.2\"\ncone-test = true\n")
				what := map[string]string{"port-restricted": "NAT                     : restricted\n", "symmetric": "NAT                     : symmetric\n"}[kind]
				state("qualified", what, exitOK)
				return
			}
			// The resolver does not answer: the client waits for it.
			c := start("[client]\nserver = \"teredo.example.net\"\n")
			state("dormant", "State                   : dormant\n", exitNegative)
			_ = c.Process.Signal(syscall.SIGTERM)
			_ = c.Wait()

			const config = "[client]\nserver = \"203.0.113.1,203.0.113.2\"\nrefresh = 5\ncone-test = true\n"
			c = start(config)
			state("qualified", "NAT                     : cone\n", exitOK)
			_ = c.Process.Signal(syscall.SIGTERM)
			_ = c.Wait()
			// The first interval that it tries is twice the configured one.
			c = start(config + "find-refresh = true\n")
			until("Client Refresh Interval : 10 seconds\n")

			// Garbage from a stranger is counted under its reason.
			raw, _ := show("teredo", "show", "--json")
			var before, after shownState
			must(t, json.Unmarshal([]byte(raw), &before))
			must(t, evil.Do(func() error {
				conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(before.Mapped))
				if err != nil {
					return err
				}
				defer conn.Close()
				for range 3 {
					if _, err := conn.Write([]byte("no Teredo")); err != nil {
						return err
					}
				}
				return nil
			}))
			for end := time.Now().Add(patience); after.Drops[engine.DropMalformed] < 3; time.Sleep(50 * time.Millisecond) {
				raw, _ = show("teredo", "show", "--verbose", "--json")
				must(t, json.Unmarshal([]byte(raw), &after))
				if time.Now().After(end) {
					t.Fatalf("%d malformed packets counted, want 3", after.Drops[engine.DropMalformed])
				}
			}
			if out, _ := show("teredo", "show", "--verbose"); !strings.Contains(out, fmt.Sprintf("\n%-24s: 3\n", engine.DropMalformed)) {
				t.Errorf("--verbose says\n%s", out)
			}

			// Root sends the client to a server that is none, and switches it off.
			withEtc := func(args ...string) (string, int) {
				t.Helper()
				c := home.Command(context.Background(), "unshare", append([]string{"-m", "sh", "-c",
					`mount -t tmpfs tmpfs /etc && mkdir /etc/shipworm && mount --bind ` + run + ` /etc/shipworm && exec "$0" "$@"`}, args...)...)
				c.Env = env
				var out bytes.Buffer
				c.Stdout = &out
				_ = c.Run()
				return out.String(), c.ProcessState.ExitCode()
			}
			set := func(args ...string) {
				t.Helper()
				if out, code := withEtc(append([]string{bin, "netsh", "interface", "teredo", "set", "state"}, args...)...); code != exitOK || out != "Ok.\n" {
					t.Fatalf("set state %v: exit code %d, %q", args, code, out)
				}
			}
			set("servername=203.0.113.77")
			state("probe", "State                   : probe (primary server)\n", exitNegative)
			state("error", "State                   : offline\n", exitNegative)
			set("servername=203.0.113.1")
			until("State                   : qualified\n")
			set("disabled")
			if err := c.Wait(); c.ProcessState.ExitCode() != exitNegative {
				t.Errorf("disabled, it ended with %v", err)
			}
			out, code := withEtc("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", bin, "teredo", "show")
			if code != exitNegative {
				t.Errorf("disabled: exit code %d", code)
			}
			note(kind+": offline", out)
		})
	}
	golden(t, "teredo_show_lab.golden", []byte(text.String()))
}
