package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"shipworm/teredo"
)

// The control socket of a running client: whoever of the same user connects
// is sent the state as JSON, and the connection ends. Nothing is ever read.

const (
	controlTimeout = 2 * time.Second
	controlMax     = 64 << 10 // bytes of an answer
)

// controlDir returns the user's own directory for sockets, and makes it.
func controlDir() (string, error) {
	if d := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(d) {
		d = filepath.Join(d, "shipworm")
		return d, os.MkdirAll(d, 0o700)
	}
	d := filepath.Join(os.TempDir(), fmt.Sprintf("shipworm-%d", os.Getuid()))
	if err := os.Mkdir(d, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	// In a directory that everybody may write to, somebody else may have been
	// there first.
	info, err := os.Lstat(d)
	if err != nil {
		return "", err
	}
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 || !ownedByUs(info) {
		return "", fmt.Errorf("%s is not a private directory of this user", d)
	}
	return d, nil
}

func controlPath() (string, error) {
	d, err := controlDir()
	return filepath.Join(d, "teredo.sock"), err
}

// serveControl answers on the control socket until stop is called.
func serveControl(c *teredo.Client) (stop func(), err error) {
	path, err := controlPath()
	if err != nil {
		return nil, err
	}
	if conn, err := net.DialTimeout("unix", path, controlTimeout); err == nil {
		conn.Close()
		return nil, errors.New("another client of this user runs already")
	}
	// Nobody listens: what lies there was left by a process that was killed.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if sameUser(conn) {
				_ = conn.SetDeadline(time.Now().Add(controlTimeout))
				if raw, err := shownJSON(c.State()); err == nil {
					_, _ = conn.Write(raw) // whoever asked may have left
				}
			}
			conn.Close()
		}
	})
	return func() { l.Close(); wg.Wait() }, nil
}

// queryControl returns what the client that this user runs says of itself.
func queryControl(ctx context.Context) ([]byte, error) {
	path, err := controlPath()
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: controlTimeout}
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(controlTimeout))
	raw, err := io.ReadAll(io.LimitReader(conn, controlMax))
	if err == nil && len(raw) == 0 {
		err = io.ErrUnexpectedEOF
	}
	return raw, err
}
