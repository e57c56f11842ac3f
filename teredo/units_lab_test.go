//go:build lab && linux

package teredo

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"shipworm/testnet/lab"
)

// allowed returns the system calls that a unit's SystemCallFilter lines let
// through, as systemd.exec(5) reads them.
func allowed(t *testing.T, unit string) map[string]bool {
	t.Helper()
	out, err := exec.Command("systemd-analyze", "--no-pager", "syscall-filter").Output()
	if err != nil {
		t.Fatal(err)
	}
	groups := map[string][]string{}
	group := ""
	for line := range strings.Lines(string(out)) {
		name := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "@"):
			group = name
		case name != "" && name[0] != '#':
			groups[group] = append(groups[group], name)
		}
	}
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]bool{}
	var set func(name string, allow bool)
	set = func(name string, allow bool) {
		if name[0] != '@' {
			calls[name] = allow
			return
		}
		if groups[name] == nil {
			t.Fatalf("systemd knows no %s", name)
		}
		for _, n := range groups[name] {
			set(n, allow)
		}
	}
	set("@default", true)
	for _, m := range regexp.MustCompile(`(?m)^SystemCallFilter=(~?)(.*)$`).FindAllStringSubmatch(string(text), -1) {
		for _, name := range strings.Fields(m[2]) {
			set(name, m[1] == "")
		}
	}
	return calls
}

// publicCopy copies the binary to where nobody may read it.
func publicCopy(t *testing.T) (dir, bin string) {
	t.Helper()
	src, err := shipwormBinary()
	if err != nil {
		t.Fatal(err)
	}
	dir = publicDir(t)
	b, err := os.ReadFile(src)
	if err == nil {
		err = os.Chmod(dir, 0o777)
	}
	bin = filepath.Join(dir, "shipworm")
	if err == nil {
		err = os.WriteFile(bin, b, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir, bin
}

// What the programs of the units call, run as the units run them, is what the
// units allow: a filter that is too narrow shows in the field only. C-03
func TestUnitsCalls(t *testing.T) {
	t.Parallel()
	needs(t, "strace", "systemd-analyze", "setpriv")
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	dir, bin := publicCopy(t)
	c := newCoast(t, nil)
	traced := func(name string, caps string, args ...string) []string {
		out := filepath.Join(dir, name)
		cmd := []string{"--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all" + caps, "--ambient-caps=-all" + caps,
			"--bounding-set=-all" + caps, "env", "RUNTIME_DIRECTORY=" + dir, "STATE_DIRECTORY=" + dir, "HOME=/", "NOTIFY_SOCKET=" + filepath.Join(dir, "none"),
			"strace", "-f", "-qq", "-o", out, bin, "teredo"}
		return append(cmd, args...)
	}
	server := c.start(c.server, "setpriv", traced("server", ",+net_raw", "server", "--native", "--listen", primary.String(), "--listen", secondary.String(), "--metrics", "127.0.0.1:9640")...)
	c.waitReady(c.server, Port)
	relay := c.start(c.relay, "setpriv", traced("relay", ",+net_admin", "relay", "--tun", "teredo", "--prefix", nodePrefix, "--metrics", "127.0.0.1:9640")...)
	home := c.home("port-restricted")
	client := c.start(home, "setpriv", traced("client", ",+net_admin", "client", "--server", primary.String(), "--tun", "teredo", "--default-route", "--metrics", "127.0.0.1:9640")...)
	line := <-client.lines
	if !strings.HasPrefix(line, "qualified: ") {
		t.Fatalf("%q\n%s", line, &client.stderr)
	}
	address := regexp.MustCompile(`2001:0:[0-9a-f:]+`).FindString(line)
	c.must(c.node, "ip -6 route replace 2001::/32 via 2001:db8:0:2::1")
	t.Log(c.must(c.node, "ping -c 3 -i 0.3 -W 5 "+address+" | tail -n 3"))
	for _, h := range []*lab.Host{home, c.server, c.relay} {
		c.must(h, "curl -sSf http://127.0.0.1:9640/metrics")
	}
	for _, p := range []*process{client, relay, server} {
		_ = exec.Command("pkill", "-TERM", "-P", strconv.Itoa(p.cmd.Process.Pid)).Run() // strace keeps signals to itself
		_ = p.stop(syscall.SIGTERM)
	}
	call := regexp.MustCompile(`(?m)^\d+ +([a-z0-9_]+)\(`)
	for _, name := range []string{"server", "relay", "client"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		may := allowed(t, "../dist/systemd/shipworm-teredo-"+name+".service")
		seen := map[string]bool{}
		for _, m := range call.FindAllSubmatch(b, -1) {
			seen[string(m[1])] = true
		}
		if len(seen) < 30 || !seen["exit_group"] {
			t.Errorf("%s: %d calls seen: it was not traced to its end", name, len(seen))
		}
		t.Logf("%s: %s", name, strings.Join(slices.Sorted(maps.Keys(seen)), " "))
		for _, call := range slices.Sorted(maps.Keys(seen)) {
			if !may[call] {
				t.Errorf("%s calls %s, which its unit does not allow", name, call)
			}
		}
	}
}
