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
	"strings"
	"sync"
	"time"

	"shipworm/teredo"
)

// The control socket of a running client: whoever may connects, is sent the
// state as JSON, and the connection ends. Nothing is ever read. The client of a
// person tells that person only; that of the system, run by root or as a
// service, tells everybody, as netsh should have.

const (
	controlTimeout = 2 * time.Second
	controlMax     = 64 << 10 // bytes of an answer
)

// systemDir is where the system's client has its socket.
const systemDir = "/run/shipworm"

// controlDir returns the directory for our socket, which it makes, and whether
// it is the system's.
func controlDir() (dir string, system bool, err error) {
	if d, _, _ := strings.Cut(os.Getenv("RUNTIME_DIRECTORY"), ":"); filepath.IsAbs(d) {
		return d, true, nil // systemd's
	}
	d, err := privateDir()
	if d != "" || err != nil {
		return d, false, err
	}
	return systemDir, true, os.MkdirAll(systemDir, 0o755)
}

// privateDir returns the user's own directory for sockets, and makes it. Root
// has none, unless one is named.
func privateDir() (string, error) {
	if d := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(d) {
		d = filepath.Join(d, "shipworm")
		return d, os.MkdirAll(d, 0o700)
	}
	if os.Geteuid() == 0 {
		return "", nil
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

const controlName = "teredo.sock"

// control is an open control socket.
type control struct {
	l      net.Listener
	path   string
	system bool
	uid    int // who may ask, besides root, unless it is the system's
	wg     sync.WaitGroup
}

// openControl opens the socket; nobody is answered yet.
func openControl() (*control, error) {
	dir, system, err := controlDir()
	if err != nil {
		return nil, err
	}
	c := &control{path: filepath.Join(dir, controlName), system: system, uid: os.Getuid()}
	if conn, err := net.DialTimeout("unix", c.path, controlTimeout); err == nil {
		conn.Close()
		return nil, errors.New("another client runs already")
	}
	// Nobody listens: what lies there was left by a process that was killed.
	if err := os.Remove(c.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if c.l, err = net.Listen("unix", c.path); err != nil {
		return nil, err
	}
	mode := fs.FileMode(0o600)
	if system {
		mode = 0o666
	}
	if err := os.Chmod(c.path, mode); err != nil {
		c.l.Close()
		return nil, err
	}
	return c, nil
}

// serve answers with the state of a client until close.
func (c *control) serve(client *teredo.Client, typ clientType, managed bool) {
	c.wg.Go(func() {
		for {
			conn, err := c.l.Accept()
			if err != nil {
				return
			}
			if c.system || fromUser(conn, c.uid) {
				_ = conn.SetDeadline(time.Now().Add(controlTimeout))
				if raw, err := shownJSON(client.State(), typ, managed); err == nil {
					_, _ = conn.Write(raw) // whoever asked may have left
				}
			}
			conn.Close()
		}
	})
}

func (c *control) close() {
	c.l.Close()
	c.wg.Wait()
}

// queryControl returns what a running client says of itself: that of this user
// or else the system's.
func queryControl(ctx context.Context) ([]byte, error) {
	own, _, err := controlDir()
	var raw []byte
	if err == nil {
		raw, err = queryClient(ctx, own)
	}
	if err != nil && own != systemDir {
		if sys, e := queryClient(ctx, systemDir); e == nil {
			return sys, nil
		}
	}
	return raw, err
}

func queryClient(ctx context.Context, dir string) ([]byte, error) {
	d := net.Dialer{Timeout: controlTimeout}
	conn, err := d.DialContext(ctx, "unix", filepath.Join(dir, controlName))
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
