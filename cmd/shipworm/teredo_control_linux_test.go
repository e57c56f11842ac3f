package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// What root makes for the system's client, others can enter and read, however
// careful root's umask is; what was there before keeps its mode. T-32
func TestPublicDirs(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	dir := t.TempDir()
	mode := func(path string, want os.FileMode) {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has the mode %o, want %o", filepath.Base(path), got, want)
		}
	}
	config := filepath.Join(dir, "etc", "teredo.toml")
	if err := systemFile(config).setTeredo(config, map[string]string{"port": "51000"}); err != nil {
		t.Fatal(err)
	}
	mode(config, 0o644)
	mode(filepath.Dir(config), 0o755)

	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := makePublicDir(closed); err != nil {
		t.Fatal(err)
	}
	mode(closed, 0o700)
}
