package x11

import (
	"encoding/binary"
	"fmt"
	"image"
	"math/bits"

	"github.com/jezek/xgb/xproto"
)

// A format describes the pixels of the root window (X protocol, "Screen
// information" and "Image").
type format struct {
	bytes   int // a pixel: 2, 3 or 4
	pad     int // rows are padded to a multiple of this many bytes
	order   binary.ByteOrder
	r, g, b uint32 // masks
	native  bool   // already BGRX but for the fourth byte
}

func rootFormat(setup *xproto.SetupInfo, screen *xproto.ScreenInfo) (format, error) {
	f := format{order: binary.LittleEndian}
	if setup.ImageByteOrder == xproto.ImageOrderMSBFirst {
		f.order = binary.BigEndian
	}
	for _, p := range setup.PixmapFormats {
		if p.Depth == screen.RootDepth {
			f.bytes, f.pad = int(p.BitsPerPixel)/8, int(p.ScanlinePad)/8
		}
	}
	for _, d := range screen.AllowedDepths {
		for _, v := range d.Visuals {
			if v.VisualId == screen.RootVisual &&
				(v.Class == xproto.VisualClassTrueColor || v.Class == xproto.VisualClassDirectColor) {
				f.r, f.g, f.b = v.RedMask, v.GreenMask, v.BlueMask
			}
		}
	}
	if f.bytes < 2 || f.bytes > 4 || f.pad < 1 || f.r == 0 || f.g == 0 || f.b == 0 {
		return f, fmt.Errorf("%w: desktop of depth %d without true colours", ErrUnsupported, screen.RootDepth)
	}
	f.native = f.bytes == 4 && f.order == binary.LittleEndian &&
		f.r == 0xff0000 && f.g == 0xff00 && f.b == 0xff
	return f, nil
}

// stride returns the bytes of a row of w pixels.
func (f format) stride(w int) int { return (w*f.bytes + f.pad - 1) / f.pad * f.pad }

// convert copies size pixels from src to dst as BGRX with a zero X.
func (f format) convert(dst []byte, stride int, src []byte, size image.Point) {
	from := f.stride(size.X)
	for y := range size.Y {
		d, s := dst[y*stride:][:4*size.X], src[y*from:][:size.X*f.bytes]
		if f.native {
			clearX(d, s)
			continue
		}
		for i := range size.X {
			p := f.pixel(s[i*f.bytes:])
			d[4*i], d[4*i+1], d[4*i+2], d[4*i+3] = component(p, f.b), component(p, f.g), component(p, f.r), 0
		}
	}
}

// clearX copies s to d, two pixels a step, with every fourth byte zero: what
// the server leaves in the padding byte is undefined.
func clearX(d, s []byte) {
	for len(s) >= 8 {
		binary.LittleEndian.PutUint64(d, binary.LittleEndian.Uint64(s)&0x00ffffff00ffffff)
		d, s = d[8:], s[8:]
	}
	if len(s) >= 4 {
		binary.LittleEndian.PutUint32(d, binary.LittleEndian.Uint32(s)&0x00ffffff)
	}
}

func (f format) pixel(s []byte) uint32 {
	switch {
	case f.bytes == 2:
		return uint32(f.order.Uint16(s))
	case f.bytes == 3 && f.order == binary.BigEndian:
		return uint32(s[0])<<16 | uint32(s[1])<<8 | uint32(s[2])
	case f.bytes == 3:
		return uint32(s[2])<<16 | uint32(s[1])<<8 | uint32(s[0])
	}
	return f.order.Uint32(s)
}

// component scales the bits of mask in p to 0..255.
func component(p, mask uint32) byte {
	shift := bits.TrailingZeros32(mask)
	top := uint64(mask >> shift)
	return byte(uint64(p&mask>>shift) * 255 / top)
}
