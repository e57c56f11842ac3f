package rfb

import (
	"bytes"
	"image"
	"image/jpeg"

	"shipworm/ra/screen"
)

// Tight compression control (community text, "Tight Encoding").
const (
	tightFill     = 0x80
	tightJPEG     = 0x90
	tightFilter   = 0x40 // a filter byte follows
	tightCopy     = 0    // filters
	tightPalette  = 1
	tightGradient = 2
	tightMinZlib  = 12   // shorter data is not compressed
	tightMaxWidth = 2048 // of a rectangle
	tightMaxLen   = 1<<22 - 1
)

// Streams of the four that we use, by what they carry: like compresses better
// with like.
const (
	streamCopy = iota
	streamMono
	streamIndex
)

// tight appends a lossless Tight encoding of r, at most a tile.
func (e *encoder) tight(out []byte, f *screen.Frame, r image.Rectangle) []byte {
	s := &e.sw
	s.load(f, r)
	b := e.plain[:0]
	switch {
	case s.n == 1:
		return e.pc.appendT(append(out, tightFill), s.px[0])
	case s.n == 2:
		out = e.tightColors(out, streamMono)
		b = e.packed(b, 1)
		e.plain = b
		return e.tightData(out, streamMono, b)
	case s.n <= maxPalette:
		out = e.tightColors(out, streamIndex)
		for _, p := range s.px {
			b = append(b, s.place(p))
		}
		e.plain = b
		return e.tightData(out, streamIndex, b)
	}
	for _, p := range s.px {
		b = e.pc.appendT(b, p)
	}
	e.plain = b
	return e.tightData(append(out, streamCopy<<4), streamCopy, b)
}

func (e *encoder) tightColors(out []byte, stream byte) []byte {
	out = append(out, stream<<4|tightFilter, tightPalette, byte(e.sw.n-1))
	for _, p := range e.sw.colors[:e.sw.n] {
		out = e.pc.appendT(out, p)
	}
	return out
}

func (e *encoder) tightData(out []byte, stream int, b []byte) []byte {
	if len(b) < tightMinZlib {
		return append(out, b...)
	}
	z := e.zlibTight[stream].compress(b)
	return append(appendCompact(out, len(z)), z...)
}

// tightJPEG appends r, at most tightMaxWidth wide, as a JPEG picture.
func (e *encoder) tightJPEG(out []byte, f *screen.Frame, r image.Rectangle) []byte {
	w, h := r.Dx(), r.Dy()
	if need := 4 * w * h; cap(e.rgba.Pix) < need {
		e.rgba.Pix = make([]byte, need)
	}
	e.rgba.Pix, e.rgba.Stride, e.rgba.Rect = e.rgba.Pix[:4*w*h], 4*w, image.Rect(0, 0, w, h)
	for y := range h {
		row := f.Row(r.Min.Y+y, r.Min.X, r.Max.X)
		dst := e.rgba.Pix[4*w*y:][:len(row)]
		for i := 0; i+4 <= len(row); i += 4 {
			dst[i], dst[i+1], dst[i+2], dst[i+3] = row[i+2], row[i+1], row[i], 255
		}
	}
	var buf bytes.Buffer
	// Encoding to memory fails only for sizes above 65535.
	_ = jpeg.Encode(&buf, &e.rgba, &jpeg.Options{Quality: e.quality})
	return append(appendCompact(append(out, tightJPEG), buf.Len()), buf.Bytes()...)
}

// appendCompact appends a length of at most tightMaxLen in 1 to 3 bytes: 7, 7
// and 8 bits, low ones first.
func appendCompact(b []byte, n int) []byte {
	switch {
	case n < 1<<7:
		return append(b, byte(n))
	case n < 1<<14:
		return append(b, byte(n)|0x80, byte(n>>7))
	}
	return append(b, byte(n)|0x80, byte(n>>7)|0x80, byte(n>>14))
}
