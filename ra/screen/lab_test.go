//go:build lab

package screen_test

import (
	"bytes"
	"image"
	"syscall"
	"testing"
	"time"

	"github.com/jezek/xgb"
	"github.com/jezek/xgb/randr"
	"github.com/jezek/xgb/xproto"
	"go.uber.org/goleak"

	"shipworm/internal/leak"
	"shipworm/ra/screen"
	"shipworm/ra/x11/xvfb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leak.Patient(m)) }

// A painter is another X client.
type painter struct {
	t    testing.TB
	c    *xgb.Conn
	root xproto.Window
	gc   xproto.Gcontext
}

func newPainter(t testing.TB, display string) *painter {
	t.Helper()
	c, err := xgb.NewConnDisplay(display)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		for ev, err := c.WaitForEvent(); ev != nil || err != nil; ev, err = c.WaitForEvent() {
		}
	})
	p := &painter{t: t, c: c, root: xproto.Setup(c).DefaultScreen(c).Root}
	if p.gc, err = xproto.NewGcontextId(c); err != nil {
		t.Fatal(err)
	}
	xproto.CreateGC(c, p.gc, xproto.Drawable(p.root), xproto.GcSubwindowMode, []uint32{xproto.SubwindowModeIncludeInferiors})
	return p
}

func (p *painter) fill(r image.Rectangle, color uint32) {
	xproto.ChangeGC(p.c, p.gc, xproto.GcForeground, []uint32{color})
	xproto.PolyFillRectangle(p.c, xproto.Drawable(p.root), p.gc, []xproto.Rectangle{
		{X: int16(r.Min.X), Y: int16(r.Min.Y), Width: uint16(r.Dx()), Height: uint16(r.Dy())},
	})
	p.c.Sync()
}

func openX11(t testing.TB, display string) *screen.X11 {
	t.Helper()
	x, err := screen.OpenX11(display)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x
}

// take waits for a token and takes the changes.
func take(t testing.TB, w *screen.Watch) screen.Change {
	t.Helper()
	select {
	case <-w.C():
		return w.Take()
	case <-time.After(time.Minute):
		t.Fatal("nothing changed")
		return screen.Change{}
	}
}

// Pixels and exact damage, through shared memory and without it.
func TestX11(t *testing.T) {
	for name, args := range map[string][]string{"shared memory": nil, "GetImage": {"-extension", "MIT-SHM"}} {
		t.Run(name, func(t *testing.T) {
			display := xvfb.Start(t, image.Pt(800, 600), 24, args...)
			p := newPainter(t, display)
			p.fill(image.Rect(10, 10, 400, 300), 0x123456)
			x := openX11(t, display)
			w := x.Watch()
			defer w.Close()
			frame := screen.NewFrame(x.Size())
			if c := take(t, w); len(c.Rects) == 0 || c.Rects[0] != frame.Bounds() || !c.Cursor {
				t.Errorf("first look: %+v", c)
			}
			if err := x.Grab(frame, frame.Bounds()); err != nil {
				t.Fatal(err)
			}
			if want := xvfb.Screenshot(t, display); !bytes.Equal(frame.Pix, want.Pix) {
				t.Error("picture differs from xwd's")
			}
			for len(w.C()) > 0 {
				<-w.C()
				w.Take()
			}
			r := image.Rect(101, 203, 131, 244)
			p.fill(r, 0xfedcba)
			c := take(t, w)
			if len(c.Rects) != 1 || c.Rects[0] != r {
				t.Errorf("damage %v, want %v", c.Rects, r)
			}
			if err := x.Grab(frame, r); err != nil {
				t.Fatal(err)
			}
			if want := xvfb.Screenshot(t, display); !bytes.Equal(frame.Pix, want.Pix) {
				t.Error("picture after damage differs from xwd's")
			}
			// A second consumer hears of the same damage.
			w2 := x.Watch()
			defer w2.Close()
			take(t, w2)
			p.fill(r, 1)
			take(t, w)
			if c := take(t, w2); len(c.Rects) != 1 || c.Rects[0] != r {
				t.Errorf("second watch: %v", c.Rects)
			}
		})
	}
}

// A desktop of 16 bits becomes BGRX too.
func TestX11Depth16(t *testing.T) {
	display := xvfb.Start(t, image.Pt(101, 50), 16)
	p := newPainter(t, display)
	p.fill(image.Rect(0, 0, 101, 50), 0xffff)
	p.fill(image.Rect(1, 1, 2, 2), 0x1f<<11|0x20<<5)
	x := openX11(t, display)
	frame := screen.NewFrame(x.Size())
	if err := x.Grab(frame, frame.Bounds()); err != nil {
		t.Fatal(err)
	}
	if got := frame.Row(1, 0, 2); !bytes.Equal(got, []byte{255, 255, 255, 0, 0, 129, 255, 0}) {
		t.Errorf("pixels %v", got)
	}
}

func TestX11Cursor(t *testing.T) {
	display := xvfb.Start(t, image.Pt(200, 200), 24)
	x := openX11(t, display)
	w := x.Watch()
	defer w.Close()
	take(t, w)
	p := newPainter(t, display)
	font, _ := xproto.NewFontId(p.c)
	xproto.OpenFont(p.c, font, uint16(len("cursor")), "cursor")
	cur, _ := xproto.NewCursorId(p.c)
	xproto.CreateGlyphCursor(p.c, cur, font, font, 68, 69, 0xffff, 0, 0, 0, 0, 0) // left_ptr in red
	xproto.ChangeWindowAttributes(p.c, p.root, xproto.CwCursor, []uint32{uint32(cur)})
	p.c.Sync()
	for !take(t, w).Cursor {
	}
	c, err := x.Cursor()
	if err != nil || c.Size.X < 4 || len(c.Pix) != 4*c.Size.X*c.Size.Y {
		t.Fatalf("%+v, %v", c, err)
	}
	if !bytes.Contains(c.Pix, []byte{0, 0, 255, 255}) {
		t.Error("no red pixel in the pointer")
	}
}

func TestX11Resize(t *testing.T) {
	display := xvfb.Start(t, image.Pt(800, 600), 24, "+extension", "RANDR")
	x := openX11(t, display)
	w := x.Watch()
	defer w.Close()
	take(t, w)
	p := newPainter(t, display)
	if err := randr.Init(p.c); err != nil {
		t.Skip(err)
	}
	res, err := randr.GetScreenResourcesCurrent(p.c, p.root).Reply()
	if err != nil || len(res.Crtcs) == 0 || len(res.Outputs) == 0 {
		t.Skipf("this Xvfb has no output: %v", err)
	}
	want := image.Pt(640, 400)
	mode, err := randr.CreateMode(p.c, p.root, randr.ModeInfo{
		Width: 640, Height: 400, DotClock: 640 * 400 * 60, Htotal: 640, Vtotal: 400, NameLen: 4,
	}, "test").Reply()
	if err != nil {
		t.Skip(err)
	}
	randr.AddOutputMode(p.c, res.Outputs[0], mode.Mode)
	if _, err := randr.SetCrtcConfig(p.c, res.Crtcs[0], 0, res.ConfigTimestamp, 0, 0, 0, 1, nil).Reply(); err != nil {
		t.Skip(err)
	}
	if err := randr.SetScreenSizeChecked(p.c, p.root, 640, 400, 200, 100).Check(); err != nil {
		t.Skip(err)
	}
	for c := take(t, w); !c.Resized; c = take(t, w) {
	}
	if x.Size() != want {
		t.Errorf("size %v, want %v", x.Size(), want)
	}
	frame := screen.NewFrame(x.Size())
	if err := x.Grab(frame, frame.Bounds()); err != nil {
		t.Error(err)
	}
}

// The display goes away: the watch says so, and nothing hangs.
func TestX11Gone(t *testing.T) {
	var w *screen.Watch
	t.Run("server", func(t *testing.T) {
		display := xvfb.Start(t, image.Pt(100, 100), 24)
		x, err := screen.OpenX11(display)
		if err != nil {
			t.Fatal(err)
		}
		w = x.Watch()
		take(t, w)
		t.Cleanup(func() {})
	}) // Xvfb ends here
	deadline := time.After(time.Minute)
	for w.Err() == nil {
		select {
		case <-w.C():
		case <-deadline:
			t.Fatal("the watch does not know")
		}
	}
	w.Take()
}

func BenchmarkGrab(b *testing.B) {
	for name, size := range map[string]image.Point{"1280x800": {1280, 800}, "1920x1080": {1920, 1080}} {
		b.Run(name, func(b *testing.B) {
			x := openX11(b, xvfb.Start(b, size, 24))
			frame := screen.NewFrame(size)
			for b.Loop() {
				if err := x.Grab(frame, frame.Bounds()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A display that stopped answering blocks a Grab, and Close ends it.
func TestX11Stuck(t *testing.T) {
	display, server := xvfb.StartProcess(t, image.Pt(100, 100), 24)
	x := openX11(t, display)
	if err := server.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer server.Signal(syscall.SIGCONT)
	grabbed := make(chan error, 1)
	frame := screen.NewFrame(image.Pt(100, 100))
	go func() { grabbed <- x.Grab(frame, frame.Bounds()) }()
	select {
	case err := <-grabbed:
		t.Fatalf("Grab: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	x.Close()
	select {
	case err := <-grabbed:
		if err == nil {
			t.Error("Grab worked on a stopped display")
		}
	case <-time.After(time.Minute):
		t.Error("Grab still waits")
	}
}
