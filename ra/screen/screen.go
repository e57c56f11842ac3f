// Package screen reads the picture of a desktop: its pixels, which parts of it
// changed, and the shape of its pointer.
//
// [Source] is what the rest of Remote Assistance sees. [OpenX11] makes one of
// an X display (MIT-SHM for pixels, DAMAGE for changes, XFIXES for the pointer,
// root window events for size changes); [NewMemory] makes one of an image in
// memory, for tests and benchmarks.
//
// Pixels are always 32-bit BGRX: blue, green, red, and a zero byte. The zero
// is a promise, so that two pictures can be compared byte by byte.
//
// Left out on purpose: encodings (package rfb), input (package input), other
// window systems. Wayland's own surfaces are not visible to an X client.
//
//	src, err := screen.OpenX11(":0")
//	if err != nil {
//		return err
//	}
//	defer src.Close()
//	frame := screen.NewFrame(src.Size())
//	watch := src.Watch()
//	defer watch.Close()
//	for range watch.C() {
//		for _, r := range watch.Take().Rects {
//			if err := src.Grab(frame, r); err != nil {
//				return err
//			}
//		}
//	}
package screen

import (
	"errors"
	"image"
)

// MaxSide is the largest width or height of a picture in pixels, and MaxBytes
// the largest picture in bytes that this package and the decoders of package
// rfb hold.
const (
	MaxSide  = 8192
	MaxBytes = 128 << 20
)

var (
	// ErrUnsupported reports a system, display or pixel format that cannot be
	// captured. Errors that wrap it say what exactly is missing.
	ErrUnsupported = errors.New("screen capture is not supported here")
	// ErrSize reports a picture larger than MaxSide or MaxBytes, or empty.
	ErrSize = errors.New("picture size out of range")
)

// A Source is a desktop that can be looked at. All methods may be called from
// any goroutine.
type Source interface {
	// Size returns the present size in pixels.
	Size() image.Point
	// Grab copies the part r of the desktop into the same place of dst. It
	// blocks until the pixels are there. Parts of r outside the desktop or
	// outside dst are left out without an error, since a desktop may shrink
	// at any moment; the watchers learn of that by Change.Resized.
	Grab(dst *Frame, r image.Rectangle) error
	// Cursor returns the present pointer shape.
	Cursor() (Cursor, error)
	// Watch returns a new collector of changes. The first Take returns the
	// whole desktop as changed. The caller closes it.
	Watch() *Watch
	// Close releases the desktop. Watches stay usable and report
	// net.ErrClosed through Watch.Err.
	Close() error
}

// A Frame is a picture, 4 bytes a pixel (B, G, R, 0), rows from top to bottom
// without padding. The zero Frame is empty.
type Frame struct {
	Pix  []byte
	Size image.Point
}

// NewFrame returns a black picture. It returns an empty one if size is outside
// the bounds of [CheckSize].
func NewFrame(size image.Point) *Frame {
	if CheckSize(size) != nil {
		return &Frame{}
	}
	return &Frame{Pix: make([]byte, 4*size.X*size.Y), Size: size}
}

// CheckSize returns ErrSize unless a picture of that size is allowed: 1 to
// MaxSide pixels a side, at most MaxBytes.
func CheckSize(size image.Point) error {
	if size.X < 1 || size.Y < 1 || size.X > MaxSide || size.Y > MaxSide || 4*size.X*size.Y > MaxBytes {
		return ErrSize
	}
	return nil
}

// Bounds returns the rectangle from the origin to Size.
func (f *Frame) Bounds() image.Rectangle { return image.Rectangle{Max: f.Size} }

// Row returns the bytes of the pixels [x0, x1) of row y, aliasing Pix.
func (f *Frame) Row(y, x0, x1 int) []byte {
	o := y * f.Size.X
	return f.Pix[4*(o+x0) : 4*(o+x1) : 4*(o+x1)]
}

// Fill paints r (clipped to the frame) in one colour, 0xRRGGBB.
func (f *Frame) Fill(r image.Rectangle, rgb uint32) {
	r = r.Intersect(f.Bounds())
	for y := r.Min.Y; y < r.Max.Y; y++ {
		row := f.Row(y, r.Min.X, r.Max.X)
		for i := 0; i < len(row); i += 4 {
			row[i], row[i+1], row[i+2], row[i+3] = byte(rgb), byte(rgb>>8), byte(rgb>>16), 0
		}
	}
}

// Copy copies r from src to the same place of f, clipped to both.
func (f *Frame) Copy(src *Frame, r image.Rectangle) {
	r = r.Intersect(f.Bounds()).Intersect(src.Bounds())
	for y := r.Min.Y; y < r.Max.Y; y++ {
		copy(f.Row(y, r.Min.X, r.Max.X), src.Row(y, r.Min.X, r.Max.X))
	}
}

// A Cursor is a pointer shape. The zero Cursor is an invisible pointer.
type Cursor struct {
	Size image.Point // in pixels, at most 256 a side
	Hot  image.Point // the pixel that points, inside Size
	// Pix holds 4 bytes a pixel: B, G, R and alpha, not premultiplied.
	Pix []byte
}
