package x11

import (
	"fmt"
	"image"
	"io"
	"net"
	"sync"

	"github.com/jezek/xgb"
	"github.com/jezek/xgb/damage"
	"github.com/jezek/xgb/xfixes"
	"github.com/jezek/xgb/xproto"
)

// An Event is what a Capture reports on its own account.
type Event int

// Kinds of events.
const (
	Damaged  Event = iota // something was drawn: ask Damage
	Reshaped              // the pointer shape changed: ask Cursor
	Resized               // the desktop has another size: ask Size
	Ended                 // the connection is gone: ask Err
)

// A Capture reads the root window. Its methods may be called from any
// goroutine.
type Capture struct {
	c      *conn
	format format
	damage damage.Damage
	region xfixes.Region
	done   chan struct{} // closed when the event loop has ended

	reading sync.Mutex // one Read at a time: guards shm; held while the server works
	shm     *segment   // nil: GetImage

	mu   sync.Mutex // never held while waiting
	size image.Point
	err  error
}

// OpenCapture connects to display ("" = $DISPLAY). on is called from one
// goroutine of the Capture for every event; it must not block and must not
// call Close.
func OpenCapture(display string, on func(Event)) (*Capture, error) {
	c, err := open(display, "XFIXES", "DAMAGE")
	if err != nil {
		return nil, err
	}
	x := &Capture{c: c, done: make(chan struct{})}
	if err := x.start(); err != nil {
		c.close()
		return nil, err
	}
	x.shm = newSegment(c, 4*x.size.X*x.size.Y)
	if x.shm != nil && !x.shmWorks() {
		x.shm.close()
		x.shm = nil
	}
	go x.loop(on)
	return x, nil
}

func (x *Capture) start() error {
	c, root := x.c.Conn, x.c.screen.Root
	var err error
	if x.format, err = rootFormat(x.c.setup, x.c.screen); err != nil {
		return err
	}
	if _, err := xfixes.QueryVersion(c, 2, 0).Reply(); err != nil {
		return fmt.Errorf("x11: XFIXES: %w", err)
	}
	if _, err := damage.QueryVersion(c, 1, 1).Reply(); err != nil {
		return fmt.Errorf("x11: DAMAGE: %w", err)
	}
	// Selecting before asking for the size: no change can be missed.
	err = xproto.ChangeWindowAttributesChecked(c, root, xproto.CwEventMask,
		[]uint32{xproto.EventMaskStructureNotify}).Check()
	if err != nil {
		return fmt.Errorf("x11: root window events: %w", err)
	}
	xfixes.SelectCursorInput(c, root, xfixes.CursorNotifyMaskDisplayCursor)
	geo, err := xproto.GetGeometry(c, xproto.Drawable(root)).Reply()
	if err != nil {
		return fmt.Errorf("x11: root window size: %w", err)
	}
	x.size = image.Pt(int(geo.Width), int(geo.Height))
	if x.region, err = xfixes.NewRegionId(c); err != nil {
		return fmt.Errorf("x11: %w", err)
	}
	xfixes.CreateRegion(c, x.region, nil)
	if x.damage, err = damage.NewDamageId(c); err != nil {
		return fmt.Errorf("x11: %w", err)
	}
	// Non-empty: the server speaks once and then stays silent until Damage
	// took the list, so a busy desktop cannot flood us with events.
	err = damage.CreateChecked(c, x.damage, xproto.Drawable(root), damage.ReportLevelNonEmpty).Check()
	if err != nil {
		return fmt.Errorf("x11: DAMAGE on the root window: %w", err)
	}
	return nil
}

func (x *Capture) loop(on func(Event)) {
	defer close(x.done)
	for {
		ev, xerr := x.c.WaitForEvent()
		if ev == nil && xerr == nil {
			break
		}
		switch e := ev.(type) {
		case damage.NotifyEvent:
			on(Damaged)
		case xfixes.CursorNotifyEvent:
			on(Reshaped)
		case xproto.ConfigureNotifyEvent:
			if e.Window != x.c.screen.Root {
				break
			}
			size := image.Pt(int(e.Width), int(e.Height))
			x.mu.Lock()
			changed := x.size != size
			x.size = size
			x.mu.Unlock()
			if changed {
				on(Resized)
			}
		}
	}
	x.mu.Lock()
	if x.err == nil {
		x.err = fmt.Errorf("x11: connection lost: %w", io.ErrUnexpectedEOF)
	}
	x.mu.Unlock()
	on(Ended)
}

// Size returns the size of the desktop in pixels.
func (x *Capture) Size() image.Point {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.size
}

// Err returns why the capture ended: net.ErrClosed after Close.
func (x *Capture) Err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.err
}

// Damage returns the rectangles drawn to since the last call and clears them.
// It waits for the server; everything drawn before that is in the answer.
func (x *Capture) Damage() ([]image.Rectangle, error) {
	damage.Subtract(x.c.Conn, x.damage, 0, x.region)
	reply, err := xfixes.FetchRegion(x.c.Conn, x.region).Reply()
	if err != nil {
		return nil, x.wrap("damage", err)
	}
	rs := make([]image.Rectangle, len(reply.Rectangles))
	for i, r := range reply.Rectangles {
		rs[i] = image.Rect(int(r.X), int(r.Y), int(r.X)+int(r.Width), int(r.Y)+int(r.Height))
	}
	return rs, nil
}

// A Cursor is a pointer shape, 4 bytes a pixel: B, G, R, alpha, premultiplied.
type Cursor struct {
	Size, Hot image.Point
	Pix       []byte
}

// Cursor asks the server for the present pointer shape.
func (x *Capture) Cursor() (Cursor, error) {
	r, err := xfixes.GetCursorImage(x.c.Conn).Reply()
	if err != nil {
		return Cursor{}, x.wrap("cursor", err)
	}
	c := Cursor{Size: image.Pt(int(r.Width), int(r.Height)), Hot: image.Pt(int(r.Xhot), int(r.Yhot))}
	c.Pix = make([]byte, 4*len(r.CursorImage))
	for i, p := range r.CursorImage {
		xgb.Put32(c.Pix[4*i:], p)
	}
	if len(c.Pix) != 4*c.Size.X*c.Size.Y {
		return Cursor{}, fmt.Errorf("x11: cursor: %d pixels for %v", len(r.CursorImage), c.Size)
	}
	return c, nil
}

// Close ends the connection and waits for the event goroutine.
func (x *Capture) Close() error {
	x.mu.Lock()
	if x.err == nil {
		x.err = net.ErrClosed
	}
	x.mu.Unlock()
	x.c.sock.Close() // unblocks a Read that waits for a stuck server
	<-x.done
	x.reading.Lock()
	defer x.reading.Unlock()
	if x.shm != nil {
		x.shm.close()
		x.shm = nil
	}
	x.c.Conn.Close()
	return nil
}

func (x *Capture) wrap(what string, err error) error {
	if e := x.Err(); e != nil {
		return e
	}
	return fmt.Errorf("x11: %s: %w", what, err)
}
