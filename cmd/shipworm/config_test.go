package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "teredo.toml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// ownConfig makes text the configuration of this user's client.
func ownConfig(t *testing.T, text string) systemFile {
	t.Helper()
	path := writeConfig(t, text)
	if os.Geteuid() == 0 {
		return systemFile(path)
	}
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	own := filepath.Join(dir, "shipworm")
	if err := errors.Join(os.Mkdir(own, 0o700), os.Rename(path, filepath.Join(own, "teredo.toml"))); err != nil {
		t.Fatal(err)
	}
	return systemFile(path)
}

// The file sets what the command line did not. C-05
func TestConfig(t *testing.T) {
	c := newTeredoClientCmd(systemConfig)
	path := writeConfig(t, `
[client]
server = "203.0.113.1,203.0.113.2"
refresh = 20
port = 34567
type = "enterpriseclient"
tun = "teredo"
default-route = true
open = ["tcp/22", "udp/5000"]
[server]
listen = ["203.0.113.1"]
`)
	if err := c.ParseFlags([]string{"--config", path, "--port", "40000"}); err != nil {
		t.Fatal(err)
	}
	if err := c.PreRunE(c, nil); err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]string{
		"server": "203.0.113.1,203.0.113.2", "refresh": "20", "port": "40000", "type": "enterpriseclient",
		"tun": "teredo", "default-route": "true", "open": "[tcp/22,udp/5000]", "no-echo": "false",
	} {
		if got := c.Flags().Lookup(flag).Value.String(); got != want {
			t.Errorf("--%s is %q, want %q", flag, got, want)
		}
	}
}

// Unknown keys and tables, wrong values and broken files are errors that name
// the file. C-05
func TestConfigStrict(t *testing.T) {
	for name, text := range map[string]string{
		"unknown key": "[client]\nsever = \"x\"", "unknown table": "[clients]\nserver = \"x\"",
		"a flag that is no setting": "[client]\njson = true", "wrong value": "[client]\nport = 70000",
		"wrong kind": "[client]\nport = \"many\"", "a list for one": "[client]\nserver = [\"a\", \"b\"]",
		"twice": "[client]\nport = 1\nport = 2", "no table": "server = \"x\"", "no TOML": "[client",
		"wrong type": "[client]\ntype = \"server\"", "a date": "[client]\nserver = 2020-01-01", "a table for one": "[client]\nport = {a = 1}",
	} {
		t.Run(name, func(t *testing.T) {
			c := newTeredoClientCmd(systemConfig)
			path := writeConfig(t, text)
			if err := c.ParseFlags([]string{"--config", path}); err != nil {
				t.Fatal(err)
			}
			err := c.PreRunE(c, nil)
			if exitCode(t.Context(), err) != exitUsage || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// All that is wrong with a file is said at once, in its own words. C-05
func TestConfigProblems(t *testing.T) {
	for text, want := range map[string]string{
		"server = \"x\"\n[servers]\n[[client]]\n":                                       `"client" is not a table; "server" is not a table; unknown table [servers]`,
		"[client]\nforce = \"maybe\"\nprt = 1\nport = -1\nrefresh = \"x\"\nopen = [[]]": `[client]: force: not true or false; [client]: open: want a string, a number, true or false; [client]: port: too large or too small; [client]: unknown key "prt"; [client]: refresh: not a number`,
	} {
		c := newTeredoClientCmd(systemConfig)
		path := writeConfig(t, text)
		if err := c.ParseFlags([]string{"--config", path}); err != nil {
			t.Fatal(err)
		}
		if err := c.PreRunE(c, nil); err == nil || err.Error() != path+": "+want {
			t.Errorf("%q:\n%v, want\n%s", text, err, want)
		}
	}
}

// A file that others may write, or that belongs to somebody else, is
// refused. C-05
func TestConfigOwner(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("file modes mean little on Windows")
	}
	path := writeConfig(t, "[client]\n")
	if _, err := readConfig(path); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o646, 0o664} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := readConfig(path); exitCode(t.Context(), err) != exitPermission {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	if _, err := readConfig(filepath.Dir(path)); exitCode(t.Context(), err) != exitPermission {
		t.Errorf("a directory: %v", err)
	}
	if os.Getuid() != 0 {
		return
	}
	if err := errors.Join(os.Chmod(path, 0o644), os.Chown(path, 4711, 4711)); err != nil {
		t.Fatal(err)
	}
	if _, err := readConfig(path); exitCode(t.Context(), err) != exitPermission {
		t.Errorf("somebody else's file: %v", err)
	}
}

// Settings change line by line; the rest of the file stays, and a file that
// would be broken is not written. T-32
func TestSetTeredo(t *testing.T) {
	path := writeConfig(t, "# ours\n[server]\nport = 3544\n[client]\n# near\nserver = \"old.example\"\nopen = [\"tcp/22\"]")
	for _, step := range []struct {
		changes map[string]string
		want    string
	}{
		{map[string]string{"server": "new.example", "refresh": "20"}, "# ours\n[server]\nport = 3544\n[client]\nserver = \"new.example\"\nrefresh = 20\n# near\nopen = [\"tcp/22\"]\n"},
		{map[string]string{"server": "default", "type": "disabled"}, "# ours\n[server]\nport = 3544\n[client]\ntype = \"disabled\"\nrefresh = 20\n# near\nopen = [\"tcp/22\"]\n"},
	} {
		if err := systemConfig.setTeredo(path, step.changes); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != step.want {
			t.Fatalf("%v: got\n%s\nwant\n%s", err, b, step.want)
		}
	}
	before, _ := os.ReadFile(path)
	for _, bad := range []map[string]string{
		{"type": "server"}, {"refresh": "46"}, {"refresh": "x"}, {"port": "0"}, {"port": "65536"}, {"server": "a\nb"}, {"server": "\"x"}, {"server": ""}, {"server": "2001:db8::1"}, {"server": "192.0.2.1,192.0.2.1"},
	} {
		if err := systemConfig.setTeredo(path, bad); exitCode(t.Context(), err) != exitUsage {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Errorf("bad values changed the file:\n%s", after)
	}
	fresh := filepath.Join(t.TempDir(), "a", "b.toml")
	if err := systemConfig.setTeredo(fresh, map[string]string{"server": "x.example"}); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(fresh); err != nil || string(b) != "[client]\nserver = \"x.example\"\n" {
		t.Errorf("a new file: %q, %v", b, err)
	}
}

// netsh's parameters, by name and by place.
func TestNetshChanges(t *testing.T) {
	for line, want := range map[string]map[string]string{
		"enterpriseclient win1910.ipv6.microsoft.com. default default": {"type": "enterpriseclient", "server": "win1910.ipv6.microsoft.com", "refresh": "default", "port": "default"},
		"type=enterpriseclient":                               {"type": "enterpriseclient"},
		"Type=client ServerName=a.example RefreshInterval=20": {"type": "client", "server": "a.example", "refresh": "20"},
		"disabled":                     {"type": "disabled"},
		"client clientport=34567":      {"type": "client", "port": "34567"},
		"client type=enterpriseclient": nil,
		"color=red":                    nil,
		"":                             nil,
		"client a.example 20 34567 x":  nil,
	} {
		got, err := netshChanges(strings.Fields(line))
		if (err == nil) != (want != nil) || len(got) != len(want) && err == nil {
			t.Errorf("%q: %v, %v", line, got, err)
			continue
		}
		for k, v := range want {
			if got[k] != v {
				t.Errorf("%q: %s is %q, want %q", line, k, got[k], v)
			}
		}
	}
}

// What is wrong with a number is said without the names of Go's functions.
func TestFlagErrors(t *testing.T) {
	for line, want := range map[string]string{
		"teredo client --refresh x":  `invalid argument "x" for "--refresh" flag: not a number`,
		"teredo client --port 70000": `invalid argument "70000" for "--port" flag: too large or too small`,
		"teredo client --type x":     `invalid argument "x" for "--type" flag: "x": want one of default, client, enterpriseclient, natawareclient, disabled`,
		"teredo client --port -1":    `invalid argument "-1" for "--port" flag: too large or too small`,
		"teredo client --force=x":    `invalid argument "x" for "--force" flag: not true or false`,
		"teredo client --prot 1":     "unknown flag: --prot",
	} {
		_, err := execute(t, systemConfig, strings.Fields(line)...)
		if err == nil || err.Error() != want || exitCode(t.Context(), err) != exitUsage {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}
