// Package x11 is the one place that speaks the X Window System protocol. It
// offers what Remote Assistance needs of an X server and no more:
//
//   - [Capture]: pixels by MIT-SHM (or GetImage where the server is elsewhere),
//     changed rectangles by DAMAGE, pointer shape by XFIXES;
//   - [Input]: fake keys and buttons by XTEST, and the keyboard map;
//   - [KeyWatch]: every key press of every keyboard by XInput 2 raw events,
//     with the mark whether XTEST made it.
//
// Packages screen and input build their interfaces on it; what a changed
// rectangle or an Esc means is their matter. Left out: windows, drawing,
// other event kinds, XKB.
//
// Sources: X Window System Protocol X11R6.8 (requests, setup), and the
// protocol texts of MIT-SHM 1.1, DAMAGE 1.1, XFIXES 2.0, XTEST 2.2, XI 2.2.
//
//	c, err := x11.OpenCapture(":0", func(x11.Event) {})
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//	pix := make([]byte, 4*640*480)
//	err = c.Read(image.Rect(0, 0, 640, 480), pix, 4*640)
package x11

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"sync"
	"time"

	"github.com/jezek/xgb"
	"github.com/jezek/xgb/damage"
	"github.com/jezek/xgb/shm"
	"github.com/jezek/xgb/xfixes"
	"github.com/jezek/xgb/xproto"
	"github.com/jezek/xgb/xtest"
)

var (
	// ErrUnsupported reports an X server that lacks an extension or has a
	// pixel format that this package cannot read.
	ErrUnsupported = errors.New("not supported by this X server")
	// ErrDisplay reports a display name that cannot be parsed or reached.
	ErrDisplay = errors.New("cannot open X display")
)

// registry serialises changes of xgb's process-wide event tables. xgb reads
// them without a lock in every connection's reader, so a second connection
// must not write them again: extension registers each extension once.
var registry sync.Mutex

// conn is an xgb connection together with the socket under it, so that closing
// does not depend on the server's answer.
type conn struct {
	*xgb.Conn
	sock   net.Conn
	setup  *xproto.SetupInfo
	screen *xproto.ScreenInfo
}

// open connects to display ("" = $DISPLAY) and registers the extensions.
func open(display string, extensions ...string) (*conn, error) {
	sock, setup, screen, err := dial(display)
	if err != nil {
		return nil, err
	}
	registry.Lock()
	defer registry.Unlock()
	// xgb reports through a process-wide logger to standard error; a library
	// must not print, and every failure also comes back as an error.
	if xgb.Logger.Writer() != io.Discard {
		xgb.Logger = log.New(io.Discard, "", 0)
	}
	_ = sock.SetDeadline(time.Now().Add(dialTimeout))
	xc, err := xgb.NewConnNet(&substitute{Conn: sock, setup: setup})
	if err != nil {
		sock.Close()
		return nil, fmt.Errorf("%w: %w", ErrDisplay, err)
	}
	c := &conn{Conn: xc, sock: sock}
	for _, name := range extensions {
		if err := c.extension(name); err != nil {
			c.close()
			return nil, err
		}
	}
	_ = sock.SetDeadline(time.Time{})
	c.setup = xproto.Setup(xc)
	if c.setup == nil || screen >= len(c.setup.Roots) {
		c.close()
		return nil, fmt.Errorf("%w: no screen %d", ErrDisplay, screen)
	}
	c.screen = &c.setup.Roots[screen]
	return c, nil
}

// close ends the connection at once and waits until xgb's reader has ended.
// Nobody else may be waiting for events.
func (c *conn) close() {
	c.sock.Close()
	for {
		if ev, err := c.WaitForEvent(); ev == nil && err == nil {
			break
		}
	}
	c.Conn.Close()
}

// extension makes an extension usable on this connection.
func (c *conn) extension(name string) error {
	reply, err := xproto.QueryExtension(c.Conn, uint16(len(name)), name).Reply()
	if err != nil {
		return fmt.Errorf("x11: query %s: %w", name, err)
	}
	if !reply.Present {
		return fmt.Errorf("%w: extension %s is missing", ErrUnsupported, name)
	}
	known := true
	for n := range xgb.NewExtEventFuncs[name] {
		known = known && xgb.NewEventFuncs[int(reply.FirstEvent)+n] != nil
	}
	for n := range xgb.NewExtErrorFuncs[name] {
		known = known && xgb.NewErrorFuncs[int(reply.FirstError)+n] != nil
	}
	if known {
		c.ExtLock.Lock()
		c.Extensions[name] = reply.MajorOpcode
		c.ExtLock.Unlock()
		return nil
	}
	inits := map[string]func(*xgb.Conn) error{
		"MIT-SHM": shm.Init, "DAMAGE": damage.Init, "XFIXES": xfixes.Init, "XTEST": xtest.Init,
	}
	return inits[name](c.Conn)
}

// substitute sends our connection setup in place of the library's: the library
// finds no authority for a connection that it did not dial itself.
type substitute struct {
	net.Conn
	setup []byte
}

func (s *substitute) Write(b []byte) (int, error) {
	if s.setup == nil {
		return s.Conn.Write(b)
	}
	_, err := s.Conn.Write(s.setup)
	s.setup = nil
	return len(b), err
}
