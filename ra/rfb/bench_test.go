package rfb

import (
	"bytes"
	"fmt"
	"image"
	"math/rand/v2"
	"testing"

	"shipworm/ra/screen"
)

// paintDesktop paints something like a desktop: a plain background, windows
// with text-like dots on white, and one photo.
func paintDesktop(f *screen.Frame, photos bool) {
	rng := rand.New(rand.NewPCG(11, 12))
	f.Fill(f.Bounds(), 0x336699)
	for i := range 4 {
		win := image.Rect(0, 0, f.Size.X/2, f.Size.Y/2).Add(image.Pt(i%2*f.Size.X/3+20, i/2*f.Size.Y/3+20))
		f.Fill(win, 0xdddddd)
		f.Fill(win.Inset(3), 0xffffff)
		for y := win.Min.Y + 10; y < min(win.Max.Y, f.Size.Y)-16; y += 16 {
			for x := win.Min.X + 8; x < min(win.Max.X, f.Size.X)-8; x += 8 {
				for range 14 {
					dx, dy := rng.IntN(6), rng.IntN(10)
					f.Fill(image.Rect(x+dx, y+dy, x+dx+1, y+dy+1), uint32(rng.IntN(6))*0x2a2a2a)
				}
			}
		}
	}
	if !photos {
		return
	}
	r := image.Rect(f.Size.X/2, f.Size.Y/2, f.Size.X, f.Size.Y)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			n := uint32(rng.IntN(8))
			f.Fill(image.Rect(x, y, x+1, y+1), (uint32(x/4)&255+n)&255<<16|(uint32(y/3)&255)<<8|(uint32(x+y)/8&255))
		}
	}
}

// BenchmarkFirstUpdate is a whole picture from the frame to wire bytes:
// comparing, choosing, encoding.
func BenchmarkFirstUpdate(b *testing.B) {
	for _, size := range []image.Point{{1280, 800}, {1920, 1080}} {
		for _, tt := range []struct {
			name   string
			photos bool
			pol    policy
		}{
			{"desktop/zrle", false, policy{exact: asZRLE}},
			{"desktop/tight", false, policy{exact: asTight}},
			{"desktop+photo/zrle", true, policy{exact: asZRLE}},
			{"desktop+photo/tight", true, policy{exact: asTight}},
			{"desktop+photo/zrle+jpeg", true, policy{exact: asZRLE, photos: true}},
		} {
			b.Run(fmt.Sprintf("%dx%d/%s", size.X, size.Y, tt.name), func(b *testing.B) {
				f := screen.NewFrame(size)
				paintDesktop(f, tt.photos)
				enc := encoder{pc: newPixelCodec(Native()), quality: 80}
				pic := newPicture(size)
				pic.now = f
				var sw swatch
				var out []byte
				b.SetBytes(int64(len(f.Pix)))
				for b.Loop() {
					pic.forget(f.Bounds())
					pieces := pic.plan(at(0), f.Bounds(), tt.pol, &sw)
					out = appendUpdate(out[:0], len(pieces))
					for _, p := range pieces {
						out = enc.rect(out, f, p)
					}
				}
				b.ReportMetric(float64(len(out)), "wire-bytes")
			})
		}
	}
}

// BenchmarkKeystroke is one character's worth of change.
func BenchmarkKeystroke(b *testing.B) {
	f := screen.NewFrame(image.Pt(1280, 800))
	paintDesktop(f, false)
	enc := encoder{pc: newPixelCodec(Native())}
	pic := newPicture(f.Size)
	pic.now.Copy(f, f.Bounds())
	var sw swatch
	pic.plan(at(0), f.Bounds(), policy{exact: asZRLE}, &sw)
	var out []byte
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r := image.Rect(100, 100, 108, 116)
		pic.now.Fill(r, uint32(i))
		pic.painted(r)
		out = appendUpdate(out[:0], 1)
		for _, p := range pic.plan(at(i), f.Bounds(), policy{exact: asZRLE}, &sw) {
			out = enc.rect(out, pic.now, p)
		}
	}
	b.ReportMetric(float64(len(out)), "wire-bytes")
}

func BenchmarkDecode(b *testing.B) {
	f := screen.NewFrame(image.Pt(1280, 800))
	paintDesktop(f, true)
	for name, m := range map[string]method{"raw": asRaw, "zrle": asZRLE, "tight": asTight, "jpeg": asJPEG} {
		b.Run(name, func(b *testing.B) {
			p := newPicture(f.Size)
			var sw swatch
			pieces := p.plan(at(0), f.Bounds(), policy{exact: m}, &sw)
			for b.Loop() {
				b.StopTimer() // a new stream each time: they cannot be replayed
				enc := encoder{pc: newPixelCodec(Native()), quality: 80}
				wire := appendUpdate(nil, len(pieces))
				for _, p := range pieces {
					wire = enc.rect(wire, f, p)
				}
				dec := newTestDecoder(b, f.Size, Native(), bytes.NewReader(wire))
				b.StartTimer()
				if _, err := dec.Next(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
