package rfb

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
)

// tight reads a Tight rectangle (community text, "Tight Encoding").
func (d *Decoder) tight(r image.Rectangle) error {
	if r.Dx() > tightMaxWidth {
		return protoErr("Tight rectangle %d wide", r.Dx())
	}
	b, err := d.read(1)
	if err != nil {
		return err
	}
	ctl := b[0]
	for i := range d.zlibTight {
		if ctl>>i&1 != 0 {
			d.zlibTight[i].reset()
		}
	}
	switch {
	case ctl&0xf0 == tightFill:
		if b, err = d.read(d.pc.tsize()); err != nil {
			return err
		}
		d.frame.Fill(r, d.pc.readT(b))
		return nil
	case ctl&0xf0 == tightJPEG:
		return d.tightJPEG(r)
	case ctl&0x80 != 0:
		return protoErr("Tight control %#x", ctl)
	}
	filter := byte(tightCopy)
	if ctl&tightFilter != 0 {
		if b, err = d.read(1); err != nil {
			return err
		}
		filter = b[0]
	}
	stream := int(ctl >> 4 & 3)
	switch filter {
	case tightPalette:
		return d.tightPalette(r, stream)
	case tightCopy, tightGradient:
		return d.tightPixels(r, stream, filter == tightGradient)
	}
	return protoErr("Tight filter %d", filter)
}

// compact reads a length of 1 to 3 bytes.
func (d *Decoder) compact() (int, error) {
	n := 0
	for shift := 0; shift < 21; shift += 7 {
		b, err := d.r.ReadByte()
		if err != nil {
			return 0, unexpected(err)
		}
		if shift == 14 {
			return n | int(b)<<14, nil
		}
		n |= int(b&0x7f) << shift
		if b&0x80 == 0 {
			break
		}
	}
	return n, nil
}

// tightOpen makes size bytes of filtered data readable and returns the reader.
func (d *Decoder) tightOpen(stream, size int) (read func([]byte) error, end func() error, err error) {
	if size < tightMinZlib {
		b, err := d.read(size)
		rest := bytes.Clone(b)
		return func(p []byte) error {
			rest = rest[copy(p, rest):]
			return nil
		}, func() error { return nil }, err
	}
	n, err := d.compact()
	if err != nil {
		return nil, nil, err
	}
	if n > size+size/1000+4096 {
		return nil, nil, protoErr("%d compressed bytes for %d", n, size)
	}
	b, err := d.read(n)
	if err != nil {
		return nil, nil, err
	}
	z := &d.zlibTight[stream]
	return z.read, z.end, z.feed(b)
}

func (d *Decoder) tightPalette(r image.Rectangle, stream int) error {
	b, err := d.read(1)
	if err != nil {
		return err
	}
	n := int(b[0]) + 1
	if b, err = d.read(n * d.pc.tsize()); err != nil {
		return err
	}
	var palette [maxPalette]uint32
	for i := range n {
		palette[i] = d.pc.readT(b[i*d.pc.tsize():])
	}
	stride := r.Dx()
	if n <= 2 {
		stride = (r.Dx() + 7) / 8
	}
	read, end, err := d.tightOpen(stream, stride*r.Dy())
	if err != nil {
		return err
	}
	line := make([]byte, stride)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		if err := read(line); err != nil {
			return err
		}
		row := d.frame.Row(y, r.Min.X, r.Max.X)
		for x := range r.Dx() {
			place := 0
			if n <= 2 {
				place = int(line[x/8]>>(7-x%8)) & 1
			} else {
				place = int(line[x])
			}
			if place >= n {
				return protoErr("colour %d of %d", place, n)
			}
			putPixel(row[4*x:], palette[place])
		}
	}
	return end()
}

// tightPixels reads whole pixels, which the gradient filter sends as the
// difference to left + above - above left, clamped, for each colour.
func (d *Decoder) tightPixels(r image.Rectangle, stream int, gradient bool) error {
	if gradient && !d.pc.rgb {
		return protoErr("gradient filter in a pixel format without 8-bit colours")
	}
	size := d.pc.tsize()
	read, end, err := d.tightOpen(stream, r.Dx()*r.Dy()*size)
	if err != nil {
		return err
	}
	line := make([]byte, r.Dx()*size)
	above := make([]byte, len(line))
	for y := r.Min.Y; y < r.Max.Y; y++ {
		if err := read(line); err != nil {
			return err
		}
		if gradient {
			for i := range line {
				var left, corner int
				if i >= size {
					left, corner = int(line[i-size]), int(above[i-size])
				}
				line[i] += byte(max(0, min(255, left+int(above[i])-corner)))
			}
		}
		row := d.frame.Row(y, r.Min.X, r.Max.X)
		for x := range r.Dx() {
			putPixel(row[4*x:], d.pc.readT(line[x*size:]))
		}
		line, above = above, line
	}
	return end()
}

func (d *Decoder) tightJPEG(r image.Rectangle) error {
	n, err := d.compact()
	if err != nil {
		return err
	}
	b, err := d.read(n)
	if err != nil {
		return err
	}
	// The size is checked before the decoder allocates for it.
	cfg, err := jpeg.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return protoErr("JPEG: %v", err)
	}
	if cfg.Width != r.Dx() || cfg.Height != r.Dy() {
		return protoErr("JPEG of %dx%d for %v", cfg.Width, cfg.Height, r)
	}
	img, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil {
		return protoErr("JPEG: %v", err)
	}
	for y := range r.Dy() {
		row := d.frame.Row(r.Min.Y+y, r.Min.X, r.Max.X)
		for x := range r.Dx() {
			c := color.RGBAModel.Convert(img.At(x, y)).(color.RGBA)
			putPixel(row[4*x:], uint32(c.R)<<16|uint32(c.G)<<8|uint32(c.B))
		}
	}
	return nil
}
