package rfb

import (
	"encoding/binary"
	"image"

	"shipworm/ra/screen"
)

// An encoder writes rectangles for one viewer. It owns the viewer's zlib
// streams: what it appended must be sent, in that order.
type encoder struct {
	pc        pixelCodec
	zlibZRLE  deflater
	zlibTight [3]deflater
	quality   int // of JPEG, 1..100
	sw        swatch
	plain     []byte
	rgba      image.RGBA
}

// A method is how a rectangle is sent.
type method uint8

const (
	asRaw method = iota
	asZRLE
	asTight
	asJPEG // inside Tight; the only one that loses detail
)

// A piece is one rectangle of an update.
type piece struct {
	image.Rectangle
	method method
}

// rect appends one whole rectangle.
func (e *encoder) rect(out []byte, f *screen.Frame, p piece) []byte {
	switch p.method {
	case asZRLE:
		return e.zrle(appendHeader(out, p.Rectangle, EncZRLE), f, p.Rectangle)
	case asTight:
		return e.tight(appendHeader(out, p.Rectangle, EncTight), f, p.Rectangle)
	case asJPEG:
		return e.tightJPEG(appendHeader(out, p.Rectangle, EncTight), f, p.Rectangle)
	}
	out = appendHeader(out, p.Rectangle, EncRaw)
	for y := p.Min.Y; y < p.Max.Y; y++ {
		row := f.Row(y, p.Min.X, p.Max.X)
		if e.pc.same && !e.pc.f.BigEndian {
			out = append(out, row...)
			continue
		}
		for ; len(row) >= 4; row = row[4:] {
			out = e.pc.append(out, binary.LittleEndian.Uint32(row))
		}
	}
	return out
}

// cursor appends the pointer shape as a Cursor pseudo-rectangle (RFC 6143,
// 7.8.1). The mask has one bit a pixel: half transparent counts as visible.
func (e *encoder) cursor(out []byte, c screen.Cursor) []byte {
	out = appendHeader(out, image.Rectangle{Min: c.Hot, Max: c.Hot.Add(c.Size)}, EncCursor)
	for i := 0; i < len(c.Pix); i += 4 {
		out = e.pc.append(out, binary.LittleEndian.Uint32(c.Pix[i:])&0xffffff)
	}
	for y := range c.Size.Y {
		row := make([]byte, (c.Size.X+7)/8)
		for x := range c.Size.X {
			if c.Pix[4*(y*c.Size.X+x)+3] >= 128 {
				row[x/8] |= 0x80 >> (x % 8)
			}
		}
		out = append(out, row...)
	}
	return out
}

// appendHeader appends a rectangle's place and encoding (RFC 6143, 7.6.1).
func appendHeader(b []byte, r image.Rectangle, enc int32) []byte {
	return binary.BigEndian.AppendUint32(appendRect(b, r), uint32(enc))
}

// Server message types (RFC 6143, 7.6; community text).
const (
	msgUpdate        = 0
	msgColourMap     = 1
	msgBell          = 2
	msgServerCutText = 3
	msgEndContinuous = 150
)

func appendUpdate(b []byte, rects int) []byte {
	return binary.BigEndian.AppendUint16(append(b, msgUpdate, 0), uint16(rects))
}

// appendServerInit appends ServerInit (RFC 6143, 7.3.2).
func appendServerInit(b []byte, size image.Point, name string) []byte {
	be := binary.BigEndian
	b = be.AppendUint16(be.AppendUint16(b, uint16(size.X)), uint16(size.Y))
	b = be.AppendUint32(Native().AppendTo(b), uint32(len(name)))
	return append(b, name...)
}

// jpegQuality finds the quality that a list of encodings offers: -1 if none.
func jpegQuality(encodings []int32) int {
	q := -1
	for _, e := range encodings {
		switch {
		case e >= EncQuality0 && e <= EncQuality0+9:
			q = min(95, 10+10*int(e-EncQuality0))
		case e >= EncFineQuality0 && e <= EncFineQuality0+100:
			return max(1, min(95, int(e-EncFineQuality0)))
		}
	}
	return q
}
