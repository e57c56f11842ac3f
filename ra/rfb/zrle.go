package rfb

import (
	"encoding/binary"
	"image"

	"shipworm/ra/screen"
)

// Subencodings of a ZRLE tile (RFC 6143, 7.7.5 and 7.7.6).
const (
	zrleRaw        = 0
	zrleSolid      = 1
	zrleMaxPacked  = 16  // 2..16: packed palette
	zrlePlainRLE   = 128 // plain runs; more: runs with a palette of form-128
	zrleMaxPalette = 127
)

// zrle appends the ZRLE encoding of r.
func (e *encoder) zrle(out []byte, f *screen.Frame, r image.Rectangle) []byte {
	plain := e.plain[:0]
	for y := r.Min.Y; y < r.Max.Y; y += tileSide {
		for x := r.Min.X; x < r.Max.X; x += tileSide {
			e.sw.load(f, image.Rect(x, y, x+tileSide, y+tileSide).Intersect(r))
			plain = e.zrleTile(plain)
		}
	}
	e.plain = plain
	z := e.zlibZRLE.compress(plain)
	out = binary.BigEndian.AppendUint32(out, uint32(len(z)))
	return append(out, z...)
}

// zrleTile appends the tile in e.sw in the shortest of its forms.
func (e *encoder) zrleTile(b []byte) []byte {
	s, c := &e.sw, &e.pc
	if s.n == 1 {
		return c.appendC(append(b, zrleSolid), s.px[0])
	}
	raw := len(s.px) * c.csize
	bits := packedBits(s.n)
	best, form := raw, zrleRaw
	if s.n <= zrleMaxPacked {
		if n := s.n*c.csize + (s.w*bits+7)/8*s.h; n < best {
			best, form = n, s.n
		}
	}
	// Runs cost a viewer more time than pixels do: they must pay.
	if n := s.n*c.csize + 2*s.runs; s.n <= zrleMaxPalette && n < best/2 {
		best, form = n, zrlePlainRLE+s.n
	}
	if n := s.runs * (c.csize + 1); n < best/2 {
		form = zrlePlainRLE
	}
	b = append(b, byte(form))
	switch {
	case form == zrleRaw:
		return e.rawTile(b)
	case form == zrlePlainRLE:
		return e.plainRuns(b)
	}
	for _, p := range s.colors[:s.n] {
		b = c.appendC(b, p)
	}
	if form <= zrleMaxPacked {
		return e.packed(b, bits)
	}
	return e.paletteRuns(b)
}

// packedBits returns the bits of an index into a palette of n colours.
func packedBits(n int) int {
	switch {
	case n <= 2:
		return 1
	case n <= 4:
		return 2
	}
	return 4
}

func (e *encoder) rawTile(b []byte) []byte {
	if e.pc.same && e.pc.csize == 3 && !e.pc.f.BigEndian {
		for _, p := range e.sw.px {
			b = append(b, byte(p), byte(p>>8), byte(p>>16))
		}
		return b
	}
	for _, p := range e.sw.px {
		b = e.pc.appendC(b, p)
	}
	return b
}

func (e *encoder) packed(b []byte, bits int) []byte {
	s := &e.sw
	for y := range s.h {
		var acc byte
		room := 8
		for _, p := range s.px[y*s.w : (y+1)*s.w] {
			room -= bits
			acc |= s.place(p) << room
			if room == 0 {
				b = append(b, acc)
				acc, room = 0, 8
			}
		}
		if room < 8 {
			b = append(b, acc)
		}
	}
	return b
}

func (e *encoder) plainRuns(b []byte) []byte {
	for px := e.sw.px; len(px) > 0; {
		n := runLength(px)
		b = appendRun(e.pc.appendC(b, px[0]), n)
		px = px[n:]
	}
	return b
}

func (e *encoder) paletteRuns(b []byte) []byte {
	for px := e.sw.px; len(px) > 0; {
		n := runLength(px)
		place := e.sw.place(px[0])
		if n == 1 {
			b = append(b, place)
		} else {
			b = appendRun(append(b, place|128), n)
		}
		px = px[n:]
	}
	return b
}

func runLength(px []uint32) int {
	n := 1
	for n < len(px) && px[n] == px[0] {
		n++
	}
	return n
}

// appendRun appends a run's length: 1 + the sum of the bytes, 255 continues.
func appendRun(b []byte, n int) []byte {
	for n--; n >= 255; n -= 255 {
		b = append(b, 255)
	}
	return append(b, byte(n))
}
