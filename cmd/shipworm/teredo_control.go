package main

import (
	"context"
	"encoding/json"
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
)

// The sockets of a running client. To the first, whoever may connects, is sent
// the state as JSON, and the connection ends; nothing is ever read. The client
// of a person tells that person only; that of the system, run by root or as a
// service, tells everybody, as netsh should have. The second is its user's and
// root's alone: a line of JSON is a change of its settings, the answer what
// became of them.

const (
	controlTimeout = 2 * time.Second
	controlMax     = 64 << 10 // bytes of an answer
	settingMax     = 4 << 10  // bytes of a change
	settingTimeout = 12 * time.Second
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
	return systemDir, true, makePublicDir(systemDir)
}

// makePublicDir makes a directory that other users can enter, whatever the
// umask; one that exists stays as it is.
func makePublicDir(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.Chmod(dir, 0o755)
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

// Names of the two sockets.
const (
	controlName = "teredo.sock"
	settingName = "teredo-set.sock"
)

// control are open control sockets.
type control struct {
	show, set net.Listener
	dir       string
	system    bool
	uid       int // who may ask, besides root, unless it is the system's
	wg        sync.WaitGroup
}

// openControl opens the sockets; nobody is answered yet.
func openControl() (*control, error) {
	dir, system, err := controlDir()
	if err != nil {
		return nil, err
	}
	c := &control{dir: dir, system: system, uid: os.Getuid()}
	mode := fs.FileMode(0o600)
	if system {
		mode = 0o666
	}
	if c.show, err = listenControl(filepath.Join(dir, controlName), mode); err != nil {
		return nil, err
	}
	if c.set, err = listenControl(filepath.Join(dir, settingName), 0o600); err != nil {
		c.show.Close()
		return nil, err
	}
	return c, nil
}

func listenControl(path string, mode fs.FileMode) (net.Listener, error) {
	if conn, err := net.DialTimeout("unix", path, controlTimeout); err == nil {
		conn.Close()
		return nil, errors.New("another client runs already")
	}
	// Nobody listens: what lies there was left by a process that was killed.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// paths are those of the sockets, for whoever removes them.
func (c *control) paths() []string {
	if c.show == nil {
		return nil
	}
	return []string{filepath.Join(c.dir, controlName), filepath.Join(c.dir, settingName)}
}

// serve answers for a client until close.
func (c *control) serve(client *liveClient) {
	if c.show == nil {
		return
	}
	accept := func(l net.Listener, everybody bool, answer func(net.Conn)) {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if everybody || fromUser(conn, c.uid) {
				_ = conn.SetDeadline(time.Now().Add(controlTimeout))
				answer(conn)
			}
			conn.Close()
		}
	}
	c.wg.Go(func() {
		accept(c.show, c.system, func(conn net.Conn) {
			if raw, err := client.shown(); err == nil {
				_, _ = conn.Write(raw) // whoever asked may have left
			}
		})
	})
	c.wg.Go(func() {
		accept(c.set, false, func(conn net.Conn) {
			var changes map[string]string
			if json.NewDecoder(io.LimitReader(conn, settingMax)).Decode(&changes) != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(settingTimeout))
			reply, end := client.change(changes)
			_ = json.NewEncoder(conn).Encode(reply)
			if end != nil {
				client.end(end)
			}
		})
	})
}

func (c *control) close() {
	if c.show == nil {
		return
	}
	c.show.Close()
	c.set.Close()
	c.wg.Wait()
}

// queryControl returns what a running client says of itself: that of this user
// or else the system's.
func queryControl(ctx context.Context) ([]byte, error) {
	own, system, err := controlDir()
	var raw []byte
	if err == nil {
		raw, err = queryClient(ctx, own)
	}
	if err != nil && !system {
		if sys, e := queryClient(ctx, systemDir); e == nil || isDeaf(e) && !isDeaf(err) {
			return sys, e
		}
	}
	return raw, err
}

// isDeaf tells a client that runs and does not answer from none.
func isDeaf(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

func queryClient(ctx context.Context, dir string) ([]byte, error) {
	d := net.Dialer{Timeout: controlTimeout}
	conn, err := d.DialContext(ctx, "unix", filepath.Join(dir, controlName))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(controlTimeout))
	return readAnswer(conn)
}

// sendControl sends a change to the client whose settings are this user's, and
// returns its answer.
func sendControl(ctx context.Context, changes map[string]string) (*changeReply, error) {
	dir, _, err := controlDir()
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: controlTimeout}
	conn, err := d.DialContext(ctx, "unix", filepath.Join(dir, settingName))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(settingTimeout))
	if err := json.NewEncoder(conn).Encode(changes); err != nil {
		return nil, err
	}
	raw, err := readAnswer(conn)
	if err != nil {
		return nil, err
	}
	r := new(changeReply)
	return r, json.Unmarshal(raw, r)
}

func readAnswer(conn net.Conn) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(conn, controlMax))
	if err == nil && len(raw) == 0 {
		err = io.ErrUnexpectedEOF
	}
	return raw, err
}
