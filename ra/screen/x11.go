package screen

import (
	"errors"
	"fmt"
	"image"
	"net"

	"shipworm/ra/x11"
)

// X11 is the desktop of an X display as a Source. Nothing is read from the
// display before somebody asks: changes pile up in the server, as one list,
// until a Watch takes them.
type X11 struct {
	hub hub
	c   *x11.Capture
}

// OpenX11 connects to display ("" = $DISPLAY). Errors wrap ErrUnsupported if
// the display lacks DAMAGE, XFIXES or true colours.
func OpenX11(display string) (*X11, error) {
	x := new(X11)
	x.hub.collect = x.collect
	ready := make(chan struct{})
	c, err := x11.OpenCapture(display, func(ev x11.Event) {
		<-ready
		x.event(ev)
	})
	if err != nil {
		if errors.Is(err, x11.ErrUnsupported) {
			err = fmt.Errorf("%w: %w", ErrUnsupported, err)
		}
		return nil, fmt.Errorf("screen: %w", err)
	}
	x.c = c
	close(ready)
	if err := CheckSize(c.Size()); err != nil {
		c.Close()
		return nil, fmt.Errorf("screen: %v: %w", c.Size(), err)
	}
	return x, nil
}

func (x *X11) event(ev x11.Event) {
	switch ev {
	case x11.Damaged:
		x.hub.wake()
	case x11.Reshaped:
		x.hub.add(Change{Cursor: true}, nil)
	case x11.Resized:
		if CheckSize(x.c.Size()) != nil {
			x.hub.fail(fmt.Errorf("screen: %v: %w", x.c.Size(), ErrSize))
			return
		}
		x.hub.add(Change{Rects: []image.Rectangle{{Max: x.c.Size()}}, Resized: true}, nil)
	case x11.Ended:
		x.hub.fail(x.c.Err())
	}
}

// collect hands what the server has gathered to every watch.
func (x *X11) collect(self *Watch) {
	rects, err := x.c.Damage()
	if err != nil {
		x.hub.fail(err)
		return
	}
	if len(rects) > 0 {
		x.hub.add(Change{Rects: rects}, self)
	}
}

// Size implements Source.
func (x *X11) Size() image.Point { return x.c.Size() }

// Grab implements Source.
func (x *X11) Grab(dst *Frame, r image.Rectangle) error {
	r = r.Intersect(dst.Bounds())
	if r.Empty() {
		return nil
	}
	o := 4 * (r.Min.Y*dst.Size.X + r.Min.X)
	return x.c.Read(r, dst.Pix[o:], 4*dst.Size.X)
}

// Cursor implements Source. Pointers larger than 256 pixels a side are
// reported as invisible.
func (x *X11) Cursor() (Cursor, error) {
	p, err := x.c.Cursor()
	if err != nil {
		return Cursor{}, err
	}
	if p.Size.X > 256 || p.Size.Y > 256 || !p.Hot.In(image.Rectangle{Max: p.Size}) {
		return Cursor{}, nil
	}
	for i := 0; i < len(p.Pix); i += 4 {
		if a := uint32(p.Pix[i+3]); a != 0 && a != 255 {
			for j := range 3 {
				p.Pix[i+j] = byte(min(255, uint32(p.Pix[i+j])*255/a))
			}
		}
	}
	return Cursor{Size: p.Size, Hot: p.Hot, Pix: p.Pix}, nil
}

// Watch implements Source.
func (x *X11) Watch() *Watch { return x.hub.watch(image.Rectangle{Max: x.Size()}) }

// Close implements Source.
func (x *X11) Close() error {
	err := x.c.Close()
	x.hub.fail(net.ErrClosed)
	return err
}
