package x11

import (
	"fmt"
	"image"
	"io"
	"net"
	"sync"

	"github.com/jezek/xgb/xproto"
	"github.com/jezek/xgb/xtest"
)

// A Keymap is the core keyboard map: PerCode keysyms for each keycode from Min
// on (X protocol, GetKeyboardMapping). The zero Keymap has no keys.
type Keymap struct {
	Min     byte
	PerCode int
	Syms    []uint32
}

// Syms of one keycode, nil if the map does not have it.
func (k Keymap) Code(code byte) []uint32 {
	i := (int(code) - int(k.Min)) * k.PerCode
	if code < k.Min || i+k.PerCode > len(k.Syms) {
		return nil
	}
	return k.Syms[i : i+k.PerCode]
}

// Modifiers lists the keycodes that set each of the eight modifiers: Shift,
// Lock, Control, Mod1 to Mod5.
type Modifiers [8][]byte

// An Input makes keys, buttons and motions by XTEST. Its methods may be called
// from any goroutine.
type Input struct {
	c    *conn
	done chan struct{}

	mu   sync.Mutex
	err  error
	size image.Point
	dirt bool // the keyboard map changed
}

// OpenInput connects to display ("" = $DISPLAY).
func OpenInput(display string) (*Input, error) {
	c, err := open(display, "XTEST")
	if err != nil {
		return nil, err
	}
	x := &Input{c: c, done: make(chan struct{})}
	if _, err := xtest.GetVersion(c.Conn, 2, 2).Reply(); err != nil {
		c.close()
		return nil, fmt.Errorf("x11: XTEST: %w", err)
	}
	err = xproto.ChangeWindowAttributesChecked(c.Conn, c.screen.Root, xproto.CwEventMask,
		[]uint32{xproto.EventMaskStructureNotify}).Check()
	if err != nil {
		c.close()
		return nil, fmt.Errorf("x11: root window events: %w", err)
	}
	geo, err := xproto.GetGeometry(c.Conn, xproto.Drawable(c.screen.Root)).Reply()
	if err != nil {
		c.close()
		return nil, fmt.Errorf("x11: root window size: %w", err)
	}
	x.size = image.Pt(int(geo.Width), int(geo.Height))
	// A fake key must reach the desktop even while another client holds the
	// server grabbed; otherwise a release could be stuck behind a menu.
	xtest.GrabControl(c.Conn, true)
	go x.loop()
	return x, nil
}

func (x *Input) loop() {
	defer close(x.done)
	for {
		ev, xerr := x.c.WaitForEvent()
		if ev == nil && xerr == nil {
			break
		}
		x.mu.Lock()
		switch e := ev.(type) {
		case xproto.MappingNotifyEvent:
			x.dirt = true
		case xproto.ConfigureNotifyEvent:
			if e.Window == x.c.screen.Root {
				x.size = image.Pt(int(e.Width), int(e.Height))
			}
		}
		x.mu.Unlock()
	}
	x.mu.Lock()
	if x.err == nil {
		x.err = fmt.Errorf("x11: connection lost: %w", io.ErrUnexpectedEOF)
	}
	x.mu.Unlock()
}

// Size returns the size of the desktop in pixels.
func (x *Input) Size() image.Point {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.size
}

// MapChanged reports, once each time, that somebody changed the keyboard map.
// Own changes by SetKey count too.
func (x *Input) MapChanged() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	d := x.dirt
	x.dirt = false
	return d
}

// Keymap asks the server for the keyboard map.
func (x *Input) Keymap() (Keymap, error) {
	lo, hi := x.c.setup.MinKeycode, x.c.setup.MaxKeycode
	r, err := xproto.GetKeyboardMapping(x.c.Conn, lo, byte(hi-lo+1)).Reply()
	if err != nil {
		return Keymap{}, x.wrap("keyboard map", err)
	}
	k := Keymap{Min: byte(lo), PerCode: int(r.KeysymsPerKeycode), Syms: make([]uint32, len(r.Keysyms))}
	for i, s := range r.Keysyms {
		k.Syms[i] = uint32(s)
	}
	return k, nil
}

// Modifiers asks the server which keys are modifiers.
func (x *Input) Modifiers() (Modifiers, error) {
	var m Modifiers
	r, err := xproto.GetModifierMapping(x.c.Conn).Reply()
	if err != nil {
		return m, x.wrap("modifier map", err)
	}
	n := int(r.KeycodesPerModifier)
	for i, code := range r.Keycodes {
		if code != 0 && i/n < len(m) {
			m[i/n] = append(m[i/n], byte(code))
		}
	}
	return m, nil
}

// SetKey gives a keycode two keysyms (plain and with Shift) and waits until
// the server has done so. Zero removes them.
func (x *Input) SetKey(code byte, plain, shifted uint32) error {
	err := xproto.ChangeKeyboardMappingChecked(x.c.Conn, 1, xproto.Keycode(code), 2,
		[]xproto.Keysym{xproto.Keysym(plain), xproto.Keysym(shifted)}).Check()
	return x.wrap("keyboard map", err)
}

// State returns the modifiers and buttons in effect (X protocol, SETofKEYBUTMASK;
// bits 13 and 14 hold the keyboard group). It waits for the server.
func (x *Input) State() (uint16, error) {
	r, err := xproto.QueryPointer(x.c.Conn, x.c.screen.Root).Reply()
	if err != nil {
		return 0, x.wrap("pointer", err)
	}
	return r.Mask, nil
}

// Pressed returns the keys that are down, whoever presses them. It waits for the
// server.
func (x *Input) Pressed() ([]byte, error) {
	r, err := xproto.QueryKeymap(x.c.Conn).Reply()
	if err != nil {
		return nil, x.wrap("keys", err)
	}
	var codes []byte
	for code := range 256 {
		if r.Keys[code/8]>>(code%8)&1 != 0 {
			codes = append(codes, byte(code))
		}
	}
	return codes, nil
}

// Key presses or releases a key. It does not wait for the server.
func (x *Input) Key(code byte, down bool) error {
	kind := byte(xproto.KeyRelease)
	if down {
		kind = xproto.KeyPress
	}
	return x.fake(kind, code, image.Point{})
}

// Button presses or releases a pointer button, 1 = left. It does not wait.
func (x *Input) Button(n byte, down bool) error {
	kind := byte(xproto.ButtonRelease)
	if down {
		kind = xproto.ButtonPress
	}
	return x.fake(kind, n, image.Point{})
}

// Move moves the pointer to p. It does not wait.
func (x *Input) Move(p image.Point) error { return x.fake(xproto.MotionNotify, 0, p) }

func (x *Input) fake(kind, detail byte, p image.Point) error {
	x.mu.Lock()
	err := x.err
	x.mu.Unlock()
	if err != nil {
		return err
	}
	xtest.FakeInput(x.c.Conn, kind, detail, 0, x.c.screen.Root, int16(p.X), int16(p.Y), 0)
	return nil
}

// Sync waits until the server has handled every request so far.
func (x *Input) Sync() error {
	_, err := xproto.GetInputFocus(x.c.Conn).Reply()
	return x.wrap("sync", err)
}

// Close ends the connection. It does not release keys: the caller knows which.
func (x *Input) Close() error {
	x.mu.Lock()
	if x.err == nil {
		x.err = net.ErrClosed
	}
	x.mu.Unlock()
	x.c.sock.Close()
	<-x.done
	x.c.Conn.Close()
	return nil
}

func (x *Input) wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil {
		return x.err
	}
	return fmt.Errorf("x11: %s: %w", what, err)
}
