package rfb

import (
	"encoding/binary"
	"image"
)

// maxCompressed bounds the compressed bytes of one rectangle.
const maxCompressed = 32 << 20

// maxZRLE returns the most compressed bytes that r may have: every run one
// pixel long with its length, stored uncompressed, and zlib's few bytes a block.
func maxZRLE(r image.Rectangle, c *pixelCodec) int64 {
	return min(int64(area(r))*int64(c.csize+2)+4096, maxCompressed)
}

// zrle reads a ZRLE rectangle (RFC 6143, 7.7.6). Every tile is read to its end
// before its bytes are believed; what it may ask of the zlib stream is bounded
// by its own size.
func (d *Decoder) zrle(r image.Rectangle) error {
	b, err := d.read(4)
	if err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(b)
	if int64(n) > maxZRLE(r, &d.pc) {
		return protoErr("%d compressed bytes for %v", n, r)
	}
	if b, err = d.read(int(n)); err != nil {
		return err
	}
	if err := d.zlibZRLE.feed(b); err != nil {
		return err
	}
	var px [tileSide * tileSide]uint32
	for y := r.Min.Y; y < r.Max.Y; y += tileSide {
		for x := r.Min.X; x < r.Max.X; x += tileSide {
			t := image.Rect(x, y, x+tileSide, y+tileSide).Intersect(r)
			if err := d.zrleTile(px[:area(t)], t.Dx()); err != nil {
				return err
			}
			i := 0
			for ty := t.Min.Y; ty < t.Max.Y; ty++ {
				for row := d.frame.Row(ty, t.Min.X, t.Max.X); len(row) >= 4; row = row[4:] {
					putPixel(row, px[i])
					i++
				}
			}
		}
	}
	return d.zlibZRLE.end()
}

func (d *Decoder) zrleTile(px []uint32, w int) error {
	z, c := &d.zlibZRLE, &d.pc
	var scratch [tileSide * tileSide * 4]byte
	if err := z.read(scratch[:1]); err != nil {
		return err
	}
	form := int(scratch[0])
	if form == zrleRaw {
		b := scratch[:len(px)*c.csize]
		if err := z.read(b); err != nil {
			return err
		}
		for i := range px {
			px[i] = c.readC(b[i*c.csize:])
		}
		return nil
	}
	if form == zrlePlainRLE {
		return d.runs(px, nil)
	}
	colors := form & 127
	if form > zrleMaxPacked && form < zrlePlainRLE || form == zrlePlainRLE+1 {
		return protoErr("ZRLE subencoding %d", form)
	}
	var palette [128]uint32
	b := scratch[:colors*c.csize]
	if err := z.read(b); err != nil {
		return err
	}
	for i := range colors {
		palette[i] = c.readC(b[i*c.csize:])
	}
	switch {
	case form == zrleSolid:
		for i := range px {
			px[i] = palette[0]
		}
		return nil
	case form > zrlePlainRLE:
		return d.runs(px, palette[:colors])
	}
	bits := packedBits(colors)
	stride := (w*bits + 7) / 8
	b = scratch[:stride*(len(px)/w)]
	if err := z.read(b); err != nil {
		return err
	}
	for i := range px {
		x := i % w * bits
		place := int(b[i/w*stride+x/8]>>(8-bits-x%8)) & (1<<bits - 1)
		if place >= colors {
			return protoErr("colour %d of %d", place, colors)
		}
		px[i] = palette[place]
	}
	return nil
}

// runs reads plain runs, or runs of palette colours.
func (d *Decoder) runs(px []uint32, palette []uint32) error {
	z, c := &d.zlibZRLE, &d.pc
	var b [4]byte
	for len(px) > 0 {
		var p uint32
		long := true
		if palette == nil {
			if err := z.read(b[:c.csize]); err != nil {
				return err
			}
			p = c.readC(b[:])
		} else {
			if err := z.read(b[:1]); err != nil {
				return err
			}
			long = b[0] >= 128
			place := int(b[0] & 127)
			if place >= len(palette) {
				return protoErr("colour %d of %d", place, len(palette))
			}
			p = palette[place]
		}
		n := 1
		for long {
			if err := z.read(b[:1]); err != nil {
				return err
			}
			n += int(b[0])
			if n > len(px) {
				return protoErr("run of %d in %d pixels", n, len(px))
			}
			long = b[0] == 255
		}
		for i := range n {
			px[i] = p
		}
		px = px[n:]
	}
	return nil
}
