package main

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"shipworm/teredo"
	"shipworm/teredo/engine"
)

func idleClient(t *testing.T) *teredo.Client {
	t.Helper()
	c, err := teredo.NewClient(teredo.ClientConfig{Server: "203.0.113.1"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A running client is found, its socket is its user's alone, a second client
// does not take it over, and a socket that was left behind is no obstacle. R-31
func TestControlSocket(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("file modes mean little on Windows")
	}
	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", dir)
	t.Setenv("RUNTIME_DIRECTORY", "")
	path := filepath.Join(dir, "shipworm", "teredo.sock")
	if _, err := queryClient(t.Context(), filepath.Dir(path)); err == nil {
		t.Error("a client was found before there was one")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctl, err := openControl()
	if err != nil {
		t.Fatal(err)
	}
	ctl.serve(&liveClient{client: idleClient(t), set: clientOptions{typ: typeClient}})
	defer func() { ctl.close() }()
	for p, want := range map[string]os.FileMode{path: 0o600, filepath.Join(filepath.Dir(path), settingName): 0o600, filepath.Dir(path): 0o700} {
		info, err := os.Stat(p)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v; want %v", p, info.Mode().Perm(), err, want)
		}
	}
	raw, err := queryControl(t.Context())
	for tries := 1; errors.Is(err, os.ErrDeadlineExceeded) && tries < 10; tries++ { // a machine may be slow
		raw, err = queryControl(t.Context())
	}
	var st shownState
	if err != nil || json.Unmarshal(raw, &st) != nil || st.ServerName != "203.0.113.1" || st.ClientState.State != engine.Initial {
		t.Errorf("the client says %s, %v", raw, err)
	}
	if second, err := openControl(); err == nil {
		second.close()
		t.Error("a second client took the socket over")
	}
	ctl.close()
	if ctl, err = openControl(); err != nil {
		t.Fatal("after the first ended:", err)
	}
}

// A client that hangs is not taken for none.
func TestControlDeaf(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("file modes mean little on Windows")
	}
	dir := t.TempDir()
	t.Setenv("RUNTIME_DIRECTORY", dir)
	l, err := net.Listen("unix", filepath.Join(dir, controlName))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	raw, err := teredoState(t.Context(), &teredoFlags{system: systemFile(filepath.Join(dir, "none"))}, false)
	if raw != nil || err == nil || !strings.Contains(err.Error(), "a client runs and does not answer") {
		t.Errorf("%s, %v", raw, err)
	}
}

// Under the common temporary directory only a private directory will do.
func TestControlDirOfSomebodyElse(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("file modes mean little on Windows")
	}
	tmp := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", "")
	t.Setenv("TMPDIR", tmp)
	if os.Geteuid() == 0 {
		if d, err := privateDir(); d != "" || err != nil {
			t.Errorf("root's private directory: %q, %v", d, err)
		}
		t.Skip("root uses the system's directory; the rest needs another user")
	}
	d, err := privateDir()
	if err != nil || filepath.Dir(d) != tmp {
		t.Fatalf("%q, %v", d, err)
	}
	if err := os.Chmod(d, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := privateDir(); err == nil || !strings.Contains(err.Error(), "private") {
		t.Errorf("a directory open to all: %v", err)
	}
	if err := os.Remove(d); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(t.TempDir(), d); err != nil {
		t.Fatal(err)
	}
	if _, err := privateDir(); err == nil {
		t.Error("a link was followed")
	}
}
