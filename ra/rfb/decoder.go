package rfb

import (
	"bufio"
	"encoding/binary"
	"image"
	"io"

	"shipworm/ra/screen"
)

// A ServerEvent is the kind of a message that a Decoder has read.
type ServerEvent int

// Kinds of server messages.
const (
	Updated       ServerEvent = iota // FramebufferUpdate: Frame or Cursor changed
	Resized                          // FramebufferUpdate with a new size
	EndContinuous                    // EndOfContinuousUpdates
	FenceReceived                    // ServerFence: see LastFence
	Ignored                          // bell, cut text, colour map: skipped
)

// Bounds of the Decoder beyond screen.CheckSize.
const (
	maxCutText = 1 << 20
	maxRects   = 1 << 16
)

// A Decoder reads the server's half of the screen stream into a frame. What it
// holds is bounded by the frame's size, whatever the server sends: at most
// 8192 x 8192 pixels and 128 MiB. It is not safe for concurrent use.
type Decoder struct {
	Name string // of the desktop, as the server calls it: not cleaned

	r         *bufio.Reader
	frame     *screen.Frame
	cursor    screen.Cursor
	fence     Fence
	pc        pixelCodec
	zlibZRLE  inflater
	zlibTight [4]inflater
	buf       []byte
}

// NewDecoder reads ServerInit from r. The pixels of the stream are those of
// Native until SetFormat; the server must have announced the same.
func NewDecoder(r io.Reader) (*Decoder, error) {
	d := &Decoder{r: bufio.NewReaderSize(r, 64<<10), pc: newPixelCodec(Native())}
	b, err := d.read(4 + pixelFormatSize + 4)
	if err != nil {
		return nil, err
	}
	size := image.Pt(int(binary.BigEndian.Uint16(b)), int(binary.BigEndian.Uint16(b[2:])))
	format, err := ParsePixelFormat(b[4:])
	if err != nil {
		return nil, err
	}
	d.pc = newPixelCodec(format)
	n := binary.BigEndian.Uint32(b[4+pixelFormatSize:])
	if n > maxCutText {
		return nil, protoErr("name of %d bytes", n)
	}
	if b, err = d.read(int(n)); err != nil {
		return nil, err
	}
	d.Name = string(b)
	return d, d.resize(size)
}

// SetFormat tells that pixels come in another format from the next message on.
func (d *Decoder) SetFormat(f PixelFormat) { d.pc = newPixelCodec(f) }

// Frame returns the picture as of the last Next. Next changes it.
func (d *Decoder) Frame() *screen.Frame { return d.frame }

// Cursor returns the pointer shape; its alpha is 0 or 255.
func (d *Decoder) Cursor() screen.Cursor { return d.cursor }

// LastFence returns the newest ServerFence.
func (d *Decoder) LastFence() Fence { return d.fence }

func (d *Decoder) resize(size image.Point) error {
	if screen.CheckSize(size) != nil {
		return protoErr("desktop of %v pixels", size)
	}
	// The memory is kept: sizes may come as fast as the server can send them.
	if need := 4 * size.X * size.Y; d.frame != nil && cap(d.frame.Pix) >= need {
		pix := d.frame.Pix[:need]
		clear(pix)
		d.frame = &screen.Frame{Pix: pix, Size: size}
		return nil
	}
	d.frame = screen.NewFrame(size)
	return nil
}

// read returns the next n bytes, valid until the next read. It grows as the
// bytes arrive, not as they are announced.
func (d *Decoder) read(n int) ([]byte, error) {
	const step = 1 << 20
	d.buf = d.buf[:0]
	for len(d.buf) < n {
		at := len(d.buf)
		want := min(n-at, step)
		if cap(d.buf) < at+want {
			d.buf = append(make([]byte, 0, max(2*cap(d.buf), at+want)), d.buf...)
		}
		d.buf = d.buf[:at+want]
		if _, err := io.ReadFull(d.r, d.buf[at:]); err != nil {
			return nil, unexpected(err)
		}
	}
	return d.buf, nil
}

// Next reads one message. io.EOF means that the stream ended between messages.
func (d *Decoder) Next() (ServerEvent, error) {
	kind, err := d.r.ReadByte()
	if err != nil {
		return 0, err
	}
	be := binary.BigEndian
	switch kind {
	case msgUpdate:
		b, err := d.read(3)
		if err != nil {
			return 0, err
		}
		return d.update(int(be.Uint16(b[1:])))
	case msgEndContinuous:
		return EndContinuous, nil
	case msgFence:
		b, err := d.read(8)
		if err != nil {
			return 0, err
		}
		f := Fence{Flags: be.Uint32(b[3:])}
		if b[7] > maxFencePayload {
			return 0, protoErr("fence of %d bytes", b[7])
		}
		if b, err = d.read(int(b[7])); err != nil {
			return 0, err
		}
		f.Payload = append(f.Payload, b...)
		d.fence = f
		return FenceReceived, nil
	case msgBell:
		return Ignored, nil
	case msgServerCutText:
		b, err := d.read(7)
		if err != nil {
			return 0, err
		}
		n := be.Uint32(b[3:])
		if n > maxCutText {
			return 0, protoErr("cut text of %d bytes", n)
		}
		_, err = d.read(int(n))
		return Ignored, err
	case msgColourMap:
		b, err := d.read(5)
		if err != nil {
			return 0, err
		}
		_, err = d.read(6 * int(be.Uint16(b[3:])))
		return Ignored, err
	}
	return 0, protoErr("unknown server message %d", kind)
}

func (d *Decoder) update(rects int) (ServerEvent, error) {
	ev := Updated
	for i := 0; i < rects || rects == maxRects-1; i++ {
		b, err := d.read(12)
		if err != nil {
			return 0, err
		}
		r, enc := readRect(b), int32(binary.BigEndian.Uint32(b[8:]))
		if enc == EncLastRect {
			break
		}
		if ev == Resized {
			return 0, protoErr("a rectangle after a new size") // which is the last of its update
		}
		if enc == EncDesktopSize {
			ev = Resized
			if err := d.resize(r.Size()); err != nil {
				return 0, err
			}
			continue
		}
		if err := d.rect(r, enc); err != nil {
			return 0, err
		}
	}
	return ev, nil
}

func (d *Decoder) rect(r image.Rectangle, enc int32) error {
	if enc == EncCursor {
		return d.readCursor(r)
	}
	if !r.In(d.frame.Bounds()) || r.Max.X > d.frame.Size.X || r.Max.Y > d.frame.Size.Y {
		return protoErr("rectangle %v outside of %v", r, d.frame.Size)
	}
	switch enc {
	case EncRaw:
		return d.raw(r)
	case EncCopyRect:
		return d.copyRect(r)
	case EncZRLE:
		return d.zrle(r)
	case EncTight:
		return d.tight(r)
	}
	return protoErr("unknown encoding %d", enc)
}

func (d *Decoder) raw(r image.Rectangle) error {
	if r.Empty() {
		return nil
	}
	for y := r.Min.Y; y < r.Max.Y; y++ {
		b, err := d.read(r.Dx() * d.pc.size)
		if err != nil {
			return err
		}
		row := d.frame.Row(y, r.Min.X, r.Max.X)
		for i := range r.Dx() {
			putPixel(row[4*i:], d.pc.read(b[i*d.pc.size:]))
		}
	}
	return nil
}

func putPixel(b []byte, p uint32) { binary.LittleEndian.PutUint32(b, p) }

func (d *Decoder) copyRect(r image.Rectangle) error {
	b, err := d.read(4)
	if err != nil {
		return err
	}
	from := image.Pt(int(binary.BigEndian.Uint16(b)), int(binary.BigEndian.Uint16(b[2:])))
	src := image.Rectangle{Min: from, Max: from.Add(r.Size())}
	if src.Max.X > d.frame.Size.X || src.Max.Y > d.frame.Size.Y {
		return protoErr("copy from %v outside of %v", src, d.frame.Size)
	}
	for i := range r.Dy() {
		if from.Y < r.Min.Y { // do not overwrite rows still to be copied
			i = r.Dy() - 1 - i
		}
		copy(d.frame.Row(r.Min.Y+i, r.Min.X, r.Max.X), d.frame.Row(src.Min.Y+i, src.Min.X, src.Max.X))
	}
	return nil
}

// readCursor reads a pointer shape; its place is the pixel that points.
func (d *Decoder) readCursor(r image.Rectangle) error {
	size := r.Size()
	if size.X > 256 || size.Y > 256 {
		return protoErr("cursor of %v pixels", size)
	}
	row := (size.X + 7) / 8
	b, err := d.read(size.X*size.Y*d.pc.size + row*size.Y)
	if err != nil {
		return err
	}
	c := screen.Cursor{Size: size, Hot: r.Min, Pix: make([]byte, 4*size.X*size.Y)}
	mask := b[size.X*size.Y*d.pc.size:]
	for i := range size.X * size.Y {
		putPixel(c.Pix[4*i:], d.pc.read(b[i*d.pc.size:]))
		if x := i % size.X; mask[i/size.X*row+x/8]&(0x80>>(x%8)) != 0 {
			c.Pix[4*i+3] = 255
		}
	}
	d.cursor = c
	return nil
}
