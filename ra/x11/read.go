package x11

import (
	"fmt"
	"image"

	"github.com/jezek/xgb/shm"
	"github.com/jezek/xgb/xproto"
)

const (
	allPlanes = ^uint32(0)
	// maxImage bounds one GetImage answer, which the library buffers whole.
	maxImage = 1 << 20
)

// Read copies the pixels of r, clipped to the desktop, into dst: BGRX with a
// zero X, the pixel r.Min at dst[0], stride bytes a row. It waits for the
// server. dst must hold stride*(r.Dy()-1) + 4*r.Dx() bytes.
func (x *Capture) Read(r image.Rectangle, dst []byte, stride int) error {
	x.reading.Lock()
	defer x.reading.Unlock()
	if err := x.Err(); err != nil {
		return err
	}
	size := x.Size()
	c := r.Intersect(image.Rectangle{Max: size})
	if c.Empty() {
		return nil
	}
	dst = dst[(c.Min.Y-r.Min.Y)*stride+4*(c.Min.X-r.Min.X):]
	if x.shm != nil && len(x.shm.mem) < c.Dx()*c.Dy()*4 {
		x.shm.close()
		if x.shm = newSegment(x.c, 4*size.X*size.Y); x.shm == nil {
			return fmt.Errorf("x11: no shared memory for %v", size)
		}
	}
	if x.shm != nil {
		return x.readShm(c, dst, stride)
	}
	rows := max(1, maxImage/(4*c.Dx()))
	for y := c.Min.Y; y < c.Max.Y; y += rows {
		part := image.Rect(c.Min.X, y, c.Max.X, min(y+rows, c.Max.Y))
		if err := x.readCore(part, dst[(y-c.Min.Y)*stride:], stride); err != nil {
			return err
		}
	}
	return nil
}

func (x *Capture) readShm(r image.Rectangle, dst []byte, stride int) error {
	_, err := shm.GetImage(x.c.Conn, xproto.Drawable(x.c.screen.Root), int16(r.Min.X), int16(r.Min.Y),
		uint16(r.Dx()), uint16(r.Dy()), allPlanes, xproto.ImageFormatZPixmap, x.shm.id, 0).Reply()
	if err != nil {
		return x.readErr(err)
	}
	x.format.convert(dst, stride, x.shm.mem, r.Size())
	return nil
}

func (x *Capture) readCore(r image.Rectangle, dst []byte, stride int) error {
	reply, err := xproto.GetImage(x.c.Conn, xproto.ImageFormatZPixmap, xproto.Drawable(x.c.screen.Root),
		int16(r.Min.X), int16(r.Min.Y), uint16(r.Dx()), uint16(r.Dy()), allPlanes).Reply()
	if err != nil {
		return x.readErr(err)
	}
	if len(reply.Data) < x.format.stride(r.Dx())*r.Dy() {
		return fmt.Errorf("x11: short image: %d bytes for %v", len(reply.Data), r)
	}
	x.format.convert(dst, stride, reply.Data, r.Size())
	return nil
}

// readErr: a BadMatch means that the desktop shrank between the check and the
// request. The resize event says so; it is no error.
func (x *Capture) readErr(err error) error {
	if e := x.Err(); e != nil {
		return e
	}
	if _, ok := err.(xproto.MatchError); ok {
		return nil
	}
	return fmt.Errorf("x11: read pixels: %w", err)
}

// shmWorks compares one pixel read both ways. A server in another container
// may attach a segment of its own that happens to have the same number.
func (x *Capture) shmWorks() bool {
	for range 3 { // the pixel itself may change between the two looks
		var a, b [4]byte
		copy(x.shm.mem, "\xa5\x5a\xa5\x5a")
		r := image.Rect(0, 0, 1, 1)
		if x.readShm(r, a[:], 4) != nil || x.readCore(r, b[:], 4) != nil {
			return false
		}
		if a == b {
			return true
		}
	}
	return false
}
