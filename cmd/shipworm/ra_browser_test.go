package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestOpenBrowser: the browser gets a private file, and no other user finds
// the code on its command line. R-32
func TestOpenBrowser(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("replaces xdg-open, which only Linux uses")
	}
	bin, seen := t.TempDir(), filepath.Join(t.TempDir(), "seen")
	script := "#!/bin/sh\necho \"$@\" > '" + seen + ".args'\ncp \"$1\" '" + seen + ".part' && mv '" + seen + ".part' '" + seen + "'\n"
	if err := os.WriteFile(filepath.Join(bin, "xdg-open"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	const url = "http://127.0.0.1:1/#secret-code"
	forget, err := openBrowser(url)
	if err != nil {
		t.Fatal(err)
	}
	var page []byte
	for limit := time.Now().Add(time.Minute); page == nil; time.Sleep(5 * time.Millisecond) {
		if page, _ = os.ReadFile(seen); time.Now().After(limit) {
			t.Fatal("the browser was not started")
		}
	}
	if !strings.Contains(string(page), url) {
		t.Errorf("the page does not lead to %s: %s", url, page)
	}
	args, err := os.ReadFile(seen + ".args")
	if err != nil || strings.Contains(string(args), "secret") {
		t.Errorf("arguments %q, %v", args, err)
	}
	path := strings.TrimSpace(string(args))
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: want 0600", info.Mode(), err)
	}
	forget()
	if _, err := os.Stat(filepath.Dir(path)); err == nil {
		t.Error("the page is left behind")
	}
}
