package rfb

import "encoding/binary"

// A PixelFormat says how a pixel is written (RFC 6143, 7.4). Only true colour
// of 8, 16 or 32 bits is supported.
type PixelFormat struct {
	Bits, Depth                     uint8
	BigEndian                       bool
	RedMax, GreenMax, BlueMax       uint16
	RedShift, GreenShift, BlueShift uint8
}

// Native returns the format of screen.Frame: 32-bit little endian 0x00RRGGBB.
func Native() PixelFormat {
	return PixelFormat{Bits: 32, Depth: 24, RedMax: 255, GreenMax: 255, BlueMax: 255, RedShift: 16, GreenShift: 8}
}

const pixelFormatSize = 16

// AppendTo appends the 16 bytes of the wire.
func (p PixelFormat) AppendTo(b []byte) []byte {
	order := byte(0)
	if p.BigEndian {
		order = 1
	}
	b = append(b, p.Bits, p.Depth, order, 1)
	b = binary.BigEndian.AppendUint16(b, p.RedMax)
	b = binary.BigEndian.AppendUint16(b, p.GreenMax)
	b = binary.BigEndian.AppendUint16(b, p.BlueMax)
	return append(b, p.RedShift, p.GreenShift, p.BlueShift, 0, 0, 0)
}

// ParsePixelFormat reads 16 bytes and checks that the format is one we write.
func ParsePixelFormat(b []byte) (PixelFormat, error) {
	if len(b) < pixelFormatSize {
		return PixelFormat{}, protoErr("pixel format of %d bytes", len(b))
	}
	be := binary.BigEndian
	p := PixelFormat{
		Bits: b[0], Depth: b[1], BigEndian: b[2] != 0,
		RedMax: be.Uint16(b[4:]), GreenMax: be.Uint16(b[6:]), BlueMax: be.Uint16(b[8:]),
		RedShift: b[10], GreenShift: b[11], BlueShift: b[12],
	}
	if b[3] == 0 {
		return p, protoErr("colour maps are not supported")
	}
	if p.Bits != 8 && p.Bits != 16 && p.Bits != 32 {
		return p, protoErr("%d bits a pixel", p.Bits)
	}
	var used uint64
	for _, c := range [3]struct {
		top   uint16
		shift uint8
	}{{p.RedMax, p.RedShift}, {p.GreenMax, p.GreenShift}, {p.BlueMax, p.BlueShift}} {
		if c.top == 0 || c.top&(c.top+1) != 0 || c.shift > 31 || uint64(c.top)<<c.shift >= 1<<p.Bits ||
			used&(uint64(c.top)<<c.shift) != 0 {
			return p, protoErr("bad colour mask in pixel format")
		}
		used |= uint64(c.top) << c.shift
	}
	return p, nil
}

// pixelCodec writes and reads pixels of one format. A native pixel is
// 0x00RRGGBB.
type pixelCodec struct {
	f     PixelFormat
	size  int  // bytes of a PIXEL
	csize int  // bytes of a CPIXEL (RFC 6143, 7.7.5)
	high  bool // a 3-byte CPIXEL holds the high bytes of the value
	rgb   bool // TPIXEL is 3 bytes r, g, b
	same  bool // colours have the places of the native format
}

func newPixelCodec(f PixelFormat) pixelCodec {
	c := pixelCodec{f: f, size: int(f.Bits) / 8}
	c.csize = c.size
	full := f.RedMax == 255 && f.GreenMax == 255 && f.BlueMax == 255
	c.rgb = f.Bits == 32 && f.Depth == 24 && full
	c.same = f.Bits == 32 && full && f.RedShift == 16 && f.GreenShift == 8 && f.BlueShift == 0
	if f.Bits == 32 && f.Depth <= 24 {
		all := uint32(f.RedMax)<<f.RedShift | uint32(f.GreenMax)<<f.GreenShift | uint32(f.BlueMax)<<f.BlueShift
		if c.high = all>>24 != 0; !c.high || all&0xff == 0 {
			c.csize = 3
		}
	}
	return c
}

// value converts a native pixel to the format.
func (c *pixelCodec) value(p uint32) uint32 {
	if c.same {
		return p
	}
	r, g, b := p>>16&255, p>>8&255, p&255
	scale := func(v uint32, top uint16) uint32 {
		if top == 255 {
			return v
		}
		return (v*uint32(top) + 127) / 255
	}
	return scale(r, c.f.RedMax)<<c.f.RedShift | scale(g, c.f.GreenMax)<<c.f.GreenShift | scale(b, c.f.BlueMax)<<c.f.BlueShift
}

// native converts a pixel of the format to a native one.
func (c *pixelCodec) native(v uint32) uint32 {
	if c.same {
		return v & 0xffffff
	}
	part := func(top uint16, shift uint8) uint32 {
		return ((v>>shift&uint32(top))*255 + uint32(top)/2) / uint32(top)
	}
	return part(c.f.RedMax, c.f.RedShift)<<16 | part(c.f.GreenMax, c.f.GreenShift)<<8 | part(c.f.BlueMax, c.f.BlueShift)
}

// append writes a native pixel as a PIXEL.
func (c *pixelCodec) append(b []byte, p uint32) []byte {
	v := c.value(p)
	switch {
	case c.size == 1:
		return append(b, byte(v))
	case c.size == 2 && c.f.BigEndian:
		return binary.BigEndian.AppendUint16(b, uint16(v))
	case c.size == 2:
		return binary.LittleEndian.AppendUint16(b, uint16(v))
	case c.f.BigEndian:
		return binary.BigEndian.AppendUint32(b, v)
	}
	return binary.LittleEndian.AppendUint32(b, v)
}

// appendC writes a native pixel as a CPIXEL.
func (c *pixelCodec) appendC(b []byte, p uint32) []byte {
	if c.csize != 3 {
		return c.append(b, p)
	}
	v := c.value(p)
	if c.high {
		v >>= 8
	}
	if c.f.BigEndian {
		return append(b, byte(v>>16), byte(v>>8), byte(v))
	}
	return append(b, byte(v), byte(v>>8), byte(v>>16))
}

// appendT writes a native pixel as a TPIXEL (Tight).
func (c *pixelCodec) appendT(b []byte, p uint32) []byte {
	if c.rgb {
		return append(b, byte(p>>16), byte(p>>8), byte(p))
	}
	return c.append(b, p)
}

// tsize is the size of a TPIXEL in bytes.
func (c *pixelCodec) tsize() int {
	if c.rgb {
		return 3
	}
	return c.size
}

// read reads a PIXEL; b holds at least size bytes.
func (c *pixelCodec) read(b []byte) uint32 {
	var v uint32
	switch {
	case c.size == 1:
		v = uint32(b[0])
	case c.size == 2 && c.f.BigEndian:
		v = uint32(binary.BigEndian.Uint16(b))
	case c.size == 2:
		v = uint32(binary.LittleEndian.Uint16(b))
	case c.f.BigEndian:
		v = binary.BigEndian.Uint32(b)
	default:
		v = binary.LittleEndian.Uint32(b)
	}
	return c.native(v)
}

// readC reads a CPIXEL; b holds at least csize bytes.
func (c *pixelCodec) readC(b []byte) uint32 {
	if c.csize != 3 {
		return c.read(b)
	}
	var v uint32
	if c.f.BigEndian {
		v = uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])
	} else {
		v = uint32(b[2])<<16 | uint32(b[1])<<8 | uint32(b[0])
	}
	if c.high {
		v <<= 8
	}
	return c.native(v)
}

// readT reads a TPIXEL; b holds at least tsize bytes.
func (c *pixelCodec) readT(b []byte) uint32 {
	if c.rgb {
		return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])
	}
	return c.read(b)
}
