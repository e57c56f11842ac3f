package rfb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zlib"

	"shipworm/ra/screen"
)

// newTestDecoder returns a Decoder behind ServerInit.
func newTestDecoder(t testing.TB, size image.Point, f PixelFormat, r io.Reader) *Decoder {
	t.Helper()
	d, err := NewDecoder(io.MultiReader(bytes.NewReader(appendServerInit(nil, size, "test")), r))
	if err != nil {
		t.Fatal(err)
	}
	d.SetFormat(f)
	return d
}

// Painters of what desktops are made of.
var painters = []struct {
	name  string
	paint func(rng *rand.Rand, f *screen.Frame, r image.Rectangle)
}{
	{"solid", func(rng *rand.Rand, f *screen.Frame, r image.Rectangle) { f.Fill(r, rng.Uint32()&0xffffff) }},
	{"two colours", func(rng *rand.Rand, f *screen.Frame, r image.Rectangle) { scatter(rng, f, r, 2) }},
	{"four colours", func(rng *rand.Rand, f *screen.Frame, r image.Rectangle) { scatter(rng, f, r, 4) }},
	{"16 colours", func(rng *rand.Rand, f *screen.Frame, r image.Rectangle) { scatter(rng, f, r, 16) }},
	{"100 colours", func(rng *rand.Rand, f *screen.Frame, r image.Rectangle) { scatter(rng, f, r, 100) }},
	{"250 colours", func(rng *rand.Rand, f *screen.Frame, r image.Rectangle) { scatter(rng, f, r, 250) }},
	{"noise", func(rng *rand.Rand, f *screen.Frame, r image.Rectangle) { scatter(rng, f, r, 1<<20) }},
	{"stripes", func(rng *rand.Rand, f *screen.Frame, r image.Rectangle) {
		for y := r.Min.Y; y < r.Max.Y; y += 3 {
			f.Fill(image.Rect(r.Min.X, y, r.Max.X, y+3).Intersect(r), rng.Uint32()&0xffffff)
		}
	}},
	{"gradient", func(_ *rand.Rand, f *screen.Frame, r image.Rectangle) { paintPhoto(f, r) }},
}

func scatter(rng *rand.Rand, f *screen.Frame, r image.Rectangle, colors int) {
	base := rng.Uint32()
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			f.Fill(image.Rect(x, y, x+1, y+1), (base+uint32(rng.IntN(colors))*0x10305)&0xffffff)
		}
	}
}

// paintPhoto paints what photo() must take for a photo: smooth, every pixel
// another colour.
func paintPhoto(f *screen.Frame, r image.Rectangle) {
	r = r.Intersect(f.Bounds())
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			f.Fill(image.Rect(x, y, x+1, y+1), uint32(x*2&255)<<16|uint32(y*2&255)<<8|uint32((x+y)&255))
		}
	}
}

// Random pictures and random damage, in every exact encoding: what is decoded
// equals what was painted, byte for byte, all streams living on.
func TestExactEncodings(t *testing.T) {
	for _, m := range []struct {
		name string
		m    method
	}{{"raw", asRaw}, {"zrle", asZRLE}, {"tight", asTight}} {
		for name, format := range map[string]PixelFormat{
			"native": Native(),
			"noVNC":  {32, 24, false, 255, 255, 255, 0, 8, 16},
			"big":    {32, 24, true, 255, 255, 255, 24, 16, 8},
			"wide":   {32, 32, false, 255, 255, 255, 16, 8, 0},
		} {
			t.Run(m.name+"/"+name, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(1, uint64(m.m)))
				size := image.Pt(150, 133)
				pic := newPicture(size)
				var wire bytes.Buffer
				enc := encoder{pc: newPixelCodec(format)}
				dec := newTestDecoder(t, size, format, &wire)
				pol := policy{exact: m.m}
				var sw swatch
				for round := range 60 {
					p := painters[rng.IntN(len(painters))]
					r := randomRect(rng, size)
					p.paint(rng, pic.now, r)
					pic.painted(r)
					pieces := pic.plan(at(round), pic.now.Bounds(), pol, &sw)
					b := appendUpdate(nil, len(pieces))
					for _, p := range pieces {
						b = enc.rect(b, pic.now, p)
					}
					wire.Write(b)
					if ev, err := dec.Next(); ev != Updated || err != nil {
						t.Fatalf("round %d (%s in %v): %v, %v", round, p.name, r, ev, err)
					}
					if !bytes.Equal(dec.Frame().Pix, pic.now.Pix) {
						t.Fatalf("round %d (%s in %v): pictures differ at %v", round, p.name, r,
							difference(dec.Frame(), pic.now, pic.now.Bounds()))
					}
				}
			})
		}
	}
}

func randomRect(rng *rand.Rand, size image.Point) image.Rectangle {
	x, y := rng.IntN(size.X), rng.IntN(size.Y)
	return image.Rect(x, y, x+1+rng.IntN(size.X-x), y+1+rng.IntN(size.Y-y))
}

// Small formats lose colours, but all three encodings must lose the same.
func TestSmallFormats(t *testing.T) {
	for name, format := range map[string]PixelFormat{
		"16": {16, 16, false, 31, 63, 31, 11, 5, 0}, "16 big": {16, 16, true, 31, 63, 31, 11, 5, 0},
		"8": {8, 8, false, 7, 7, 3, 0, 3, 6},
	} {
		t.Run(name, func(t *testing.T) {
			f := screen.NewFrame(image.Pt(100, 70))
			paintPhoto(f, f.Bounds())
			f.Fill(image.Rect(64, 0, 100, 64), 0x102030)
			var pictures [][]byte
			for _, m := range []method{asRaw, asZRLE, asTight} {
				enc := encoder{pc: newPixelCodec(format)}
				p := &picture{now: f}
				var pieces []piece
				p.cols = 2
				p.tiles = make([]tile, 4)
				for i := range p.tiles {
					pieces = append(pieces, piece{p.rect(i), m})
				}
				b := appendUpdate(nil, len(pieces))
				for _, p := range pieces {
					b = enc.rect(b, f, p)
				}
				dec := newTestDecoder(t, f.Size, format, bytes.NewReader(b))
				if _, err := dec.Next(); err != nil {
					t.Fatal(err)
				}
				pictures = append(pictures, dec.Frame().Pix)
			}
			if !bytes.Equal(pictures[0], pictures[1]) || !bytes.Equal(pictures[0], pictures[2]) {
				t.Error("encodings disagree")
			}
		})
	}
}

// Every form of a ZRLE tile is really used, and read back right.
func TestZRLEForms(t *testing.T) {
	for _, tt := range []struct {
		name string
		form byte
		draw func(f *screen.Frame)
	}{
		{"solid", 1, func(f *screen.Frame) {}},
		{"two colours", 2, func(f *screen.Frame) { dots(f, 2) }},
		{"three colours", 3, func(f *screen.Frame) { dots(f, 3) }},
		{"16 colours", 16, func(f *screen.Frame) { dots(f, 16) }},
		{"raw", 0, func(f *screen.Frame) { dots(f, 4096) }},
		{"palette runs", 128 + 2, func(f *screen.Frame) { f.Fill(image.Rect(0, 0, 64, 1), 1) }},
		{"long palette runs", 128 + 20, func(f *screen.Frame) {
			for i := range 19 {
				f.Fill(image.Rect(0, 3*i, 64, 3*i+2), uint32(i+1))
			}
		}},
		{"plain runs", 128, func(f *screen.Frame) {
			for i := range 64 {
				f.Fill(image.Rect(0, i, 31, i+1), uint32(2*i))
				f.Fill(image.Rect(31, i, 64, i+1), uint32(2*i+1))
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := screen.NewFrame(image.Pt(64, 64))
			tt.draw(f)
			enc := encoder{pc: newPixelCodec(Native())}
			enc.sw.load(f, f.Bounds())
			if b := enc.zrleTile(nil); b[0] != tt.form {
				t.Fatalf("form %d, want %d", b[0], tt.form)
			}
			b := enc.rect(appendUpdate(nil, 1), f, piece{f.Bounds(), asZRLE})
			dec := newTestDecoder(t, f.Size, Native(), bytes.NewReader(b))
			if _, err := dec.Next(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(dec.Frame().Pix, f.Pix) {
				t.Error("picture differs")
			}
		})
	}
}

func dots(f *screen.Frame, colors int) {
	for i := range 64 * 64 {
		f.Fill(image.Rect(i%64, i/64, i%64+1, i/64+1), uint32(i*7%colors)*0x1357)
	}
}

// A JPEG tile is near the original, and exactly of its size.
func TestJPEG(t *testing.T) {
	f := screen.NewFrame(image.Pt(100, 80))
	paintPhoto(f, f.Bounds())
	enc := encoder{pc: newPixelCodec(Native()), quality: 90}
	r := image.Rect(3, 5, 98, 77)
	b := enc.rect(appendUpdate(nil, 1), f, piece{r, asJPEG})
	dec := newTestDecoder(t, f.Size, Native(), bytes.NewReader(b))
	if _, err := dec.Next(); err != nil {
		t.Fatal(err)
	}
	var sum, n float64
	for y := r.Min.Y; y < r.Max.Y; y++ {
		a, b := f.Row(y, r.Min.X, r.Max.X), dec.Frame().Row(y, r.Min.X, r.Max.X)
		for i := range a {
			d := float64(a[i]) - float64(b[i])
			sum, n = sum+d*d, n+1
		}
	}
	if mse := sum / n; mse > 60 {
		t.Errorf("mean square error %.1f", mse)
	}
	if p := dec.Frame().Row(0, 0, 100); !bytes.Equal(p, make([]byte, 400)) {
		t.Error("pixels outside of the rectangle changed")
	}
}

func TestCursor(t *testing.T) {
	c := screen.Cursor{Size: image.Pt(9, 2), Hot: image.Pt(3, 1), Pix: make([]byte, 4*18)}
	for i := range 18 {
		binary.LittleEndian.PutUint32(c.Pix[4*i:], uint32(i)|uint32(i%2*0xff)<<24)
	}
	enc := encoder{pc: newPixelCodec(Native())}
	b := enc.cursor(appendUpdate(nil, 1), c)
	dec := newTestDecoder(t, image.Pt(4, 4), Native(), bytes.NewReader(b))
	if _, err := dec.Next(); err != nil {
		t.Fatal(err)
	}
	if got := dec.Cursor(); got.Size != c.Size || got.Hot != c.Hot || !bytes.Equal(got.Pix, c.Pix) {
		t.Errorf("got %+v", got)
	}
}

func zlibOf(t testing.TB, plain []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zlib.NewWriter(&buf)
	w.Write(plain)
	w.Flush()
	return buf.Bytes()
}

func zrleRect(r image.Rectangle, z []byte) []byte {
	b := appendHeader(appendUpdate(nil, 1), r, EncZRLE)
	return append(binary.BigEndian.AppendUint32(b, uint32(len(z))), z...)
}

// whatever the server sends, the Decoder refuses what does not fit into
// the picture, and holds no more than that.
func TestDecoderBounds(t *testing.T) {
	tile := image.Rect(0, 0, 64, 64)
	tight := func(b ...byte) []byte { return append(appendHeader(appendUpdate(nil, 1), tile, EncTight), b...) }
	bomb := zlibOf(t, append([]byte{1, 1, 2, 3}, make([]byte, 10<<20)...))
	if len(bomb) > 15<<10 {
		t.Fatalf("the bomb is no bomb: %d bytes", len(bomb))
	}
	img := encoder{quality: 50}
	big := img.tightJPEG(nil, screen.NewFrame(image.Pt(65, 64)), image.Rect(0, 0, 65, 64))
	for name, wire := range map[string][]byte{
		"rectangle too wide":     appendHeader(appendUpdate(nil, 1), image.Rect(1, 0, 65, 1), EncRaw),
		"empty rectangle beyond": appendHeader(appendUpdate(nil, 1), image.Rect(65, 0, 65, 0), EncRaw),
		"huge desktop":           appendHeader(appendUpdate(nil, 1), image.Rect(0, 0, 8193, 10), EncDesktopSize),
		"too many bytes":         appendHeader(appendUpdate(nil, 1), image.Rect(0, 0, 8192, 8192), EncDesktopSize),
		"no desktop":             appendHeader(appendUpdate(nil, 1), image.Rect(0, 0, 0, 0), EncDesktopSize),
		"unknown encoding":       appendHeader(appendUpdate(nil, 1), tile, 99),
		"huge cursor":            appendHeader(appendUpdate(nil, 1), image.Rect(0, 0, 257, 1), EncCursor),
		"copy from outside":      append(appendHeader(appendUpdate(nil, 1), tile, EncCopyRect), 0, 1, 0, 0),
		"ZRLE length":            append(appendHeader(appendUpdate(nil, 1), tile, EncZRLE), 0xff, 0xff, 0xff, 0xff),
		"ZRLE bomb":              zrleRect(tile, bomb),
		"ZRLE not zlib":          zrleRect(tile, []byte("hello, world")),
		"ZRLE subencoding 17":    zrleRect(tile, zlibOf(t, []byte{17, 1, 2, 3})),
		"ZRLE subencoding 129":   zrleRect(tile, zlibOf(t, []byte{129, 1, 2, 3})),
		"ZRLE colour":            zrleRect(tile, zlibOf(t, append([]byte{3, 1, 1, 1, 2, 2, 2, 3, 3, 3}, bytes.Repeat([]byte{255}, 1024)...))),
		"ZRLE run":               zrleRect(tile, zlibOf(t, append([]byte{128, 1, 2, 3}, bytes.Repeat([]byte{255}, 100)...))),
		"ZRLE run colour":        zrleRect(tile, zlibOf(t, []byte{130, 1, 1, 1, 2, 2, 2, 2})),
		"ZRLE short":             zrleRect(tile, zlibOf(t, []byte{0, 1, 2, 3})),
		"Tight control":          tight(0xf0),
		"Tight filter":           tight(0x40, 9),
		"Tight length":           tight(0x00, 0xff, 0xff, 0xff),
		"Tight bomb":             append(tight(0x00), append(appendCompact(nil, len(bomb)), bomb...)...),
		"Tight colour":           append(tight(0x40, 1, 2, 1, 1, 1, 2, 2, 2, 3, 3, 3), appendCompact(nil, 13)...),
		"JPEG of another size":   append(tight(), big...),
		"JPEG of nothing":        tight(0x90, 0),
		"colour map endless":     {msgColourMap, 0, 0, 0, 0xff, 0xff},
		"cut text":               {msgServerCutText, 0, 0, 0, 0xff, 0xff, 0xff, 0xff},
		"fence":                  {msgFence, 0, 0, 0, 0, 0, 0, 0, 65},
		"unknown message":        {77},
	} {
		t.Run(name, func(t *testing.T) {
			dec := newTestDecoder(t, tile.Max, Native(), bytes.NewReader(wire))
			_, err := dec.Next()
			if !errors.Is(err, ErrProtocol) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("got %v", err)
			}
			if cap(dec.buf) > 1<<20 {
				t.Errorf("buffer of %d bytes", cap(dec.buf))
			}
		})
	}
	for _, size := range []image.Point{{0, 1}, {1, 0}, {8193, 1}, {8192, 8192}} {
		if _, err := NewDecoder(bytes.NewReader(appendServerInit(nil, size, ""))); !errors.Is(err, ErrProtocol) {
			t.Errorf("ServerInit of %v: %v", size, err)
		}
	}
}

// The encodings that the Decoder knows and Serve does not use.
func TestDecoderExtras(t *testing.T) {
	var b []byte
	b = appendUpdate(b, 65535)
	b = append(appendHeader(b, image.Rect(0, 0, 2, 1), EncRaw), 1, 2, 3, 0, 4, 5, 6, 0)
	b = append(appendHeader(b, image.Rect(1, 1, 3, 2), EncCopyRect), 0, 0, 0, 0)
	// Gradient: the first row's differences are to the left pixel.
	b = append(appendHeader(b, image.Rect(0, 2, 3, 3), EncTight), 0x40, 2, 10, 20, 30, 1, 1, 1, 255, 0, 0)
	b = append(appendHeader(b, image.Rectangle{}, EncLastRect), msgBell)
	dec := newTestDecoder(t, image.Pt(3, 3), Native(), bytes.NewReader(b))
	if ev, err := dec.Next(); ev != Updated || err != nil {
		t.Fatal(ev, err)
	}
	want := [][]byte{
		{1, 2, 3, 0, 4, 5, 6, 0, 0, 0, 0, 0},
		{0, 0, 0, 0, 1, 2, 3, 0, 4, 5, 6, 0},
	}
	for y, row := range want {
		if got := dec.Frame().Row(y, 0, 3); !bytes.Equal(got, row) {
			t.Errorf("row %d: %v", y, got)
		}
	}
	if ev, err := dec.Next(); ev != Ignored || err != nil {
		t.Error(ev, err)
	}
	if _, err := dec.Next(); err != io.EOF {
		t.Error(err)
	}
}

func FuzzDecoder(f *testing.F) {
	frame := screen.NewFrame(image.Pt(80, 70))
	paintPhoto(frame, image.Rect(0, 0, 64, 64))
	dots(frame, 5)
	for _, m := range []method{asRaw, asZRLE, asTight, asJPEG} {
		enc := encoder{pc: newPixelCodec(Native()), quality: 60}
		r := image.Rect(0, 0, 64, 64)
		f.Add(enc.rect(appendUpdate(nil, 1), frame, piece{r, m}))
	}
	f.Add(append(appendHeader(appendUpdate(nil, 1), image.Rect(0, 0, 8, 8), EncDesktopSize), msgEndContinuous))
	f.Add(Fence{Flags: FenceRequest, Payload: []byte("abc")}.AppendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		dec := newTestDecoder(t, frame.Size, Native(), bytes.NewReader(b))
		for range 16 {
			if _, err := dec.Next(); err != nil {
				break
			}
			// A size that fits is allowed; it must not make the test swallow
			// the machine's memory again and again.
			if len(dec.Frame().Pix) > 4<<20 {
				break
			}
		}
		if screen.CheckSize(dec.Frame().Size) != nil {
			t.Fatalf("picture of %v", dec.Frame().Size)
		}
	})
}

// Each encoding alone, in two pixel formats: any picture survives.
func fuzzExact(f *testing.F, m method) {
	f.Add([]byte{1, 2, 3}, uint8(7), uint8(3))
	f.Add(bytes.Repeat([]byte{0, 9}, 200), uint8(64), uint8(65))
	f.Fuzz(func(t *testing.T, b []byte, w, h uint8) {
		size := image.Pt(int(w)%100+1, int(h)%100+1)
		if m == asTight {
			size.X, size.Y = min(size.X, tileSide), min(size.Y, tileSide)
		}
		frame := screen.NewFrame(size)
		for i := 0; len(b) > 0 && i < len(frame.Pix); i++ {
			if i%4 != 3 {
				frame.Pix[i] = b[i%len(b)]
			}
		}
		for _, format := range []PixelFormat{Native(), {32, 24, true, 255, 255, 255, 0, 8, 16}} {
			enc := encoder{pc: newPixelCodec(format)}
			wire := enc.rect(appendUpdate(nil, 1), frame, piece{frame.Bounds(), m})
			dec := newTestDecoder(t, size, format, bytes.NewReader(wire))
			if _, err := dec.Next(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(dec.Frame().Pix, frame.Pix) {
				t.Fatalf("picture of %v differs", size)
			}
		}
	})
}

func FuzzRaw(f *testing.F)   { fuzzExact(f, asRaw) }
func FuzzZRLE(f *testing.F)  { fuzzExact(f, asZRLE) }
func FuzzTight(f *testing.F) { fuzzExact(f, asTight) }
