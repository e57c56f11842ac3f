package main

import (
	"errors"
	"html/template"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// redirect leads a browser to the page. The code in the URL must not stand on
// a command line, which every user of the machine can read; a private file may
// hold it for the 30 s that it is good for.
var redirect = template.Must(template.New("").Parse(
	`<!doctype html><meta charset="utf-8"><title>shipworm</title><meta http-equiv="refresh" content="0;url={{.}}">`))

// openBrowser has the desktop's browser open url. The caller calls forget,
// which is never nil, when the page is no longer needed.
func openBrowser(url string) (forget func(), err error) {
	dir, err := os.MkdirTemp("", "shipworm-page-") // 0700
	if err != nil {
		return func() {}, err
	}
	forget = func() { os.RemoveAll(dir) }
	path := filepath.Join(dir, "page.html")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return forget, err
	}
	if err := errors.Join(redirect.Execute(f, url), f.Close()); err != nil {
		return forget, err
	}
	name, args := "xdg-open", []string{path}
	switch runtime.GOOS {
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", path}
	case "darwin":
		name = "open"
	}
	cmd := exec.Command(name, args...)
	if err := cmd.Start(); err != nil {
		return forget, err
	}
	go cmd.Wait()
	return forget, nil
}
