package screen

import (
	"bytes"
	"errors"
	"image"
	"net"
	"testing"
)

// the bounds of a picture.
func TestCheckSize(t *testing.T) {
	for _, tt := range []struct {
		size image.Point
		ok   bool
	}{
		{image.Pt(1, 1), true}, {image.Pt(8192, 4096), true}, {image.Pt(4096, 8192), true},
		{image.Pt(0, 1), false}, {image.Pt(1, 0), false}, {image.Pt(-1, 5), false},
		{image.Pt(8193, 1), false}, {image.Pt(1, 8193), false}, {image.Pt(8192, 4097), false}, {image.Pt(8192, 8192), false},
	} {
		if err := CheckSize(tt.size); (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrSize) {
			t.Errorf("%v: %v", tt.size, err)
		}
		if f := NewFrame(tt.size); (len(f.Pix) > 0) != tt.ok {
			t.Errorf("%v: frame of %d bytes", tt.size, len(f.Pix))
		}
	}
	if _, err := NewMemory(image.Pt(0, 0)); !errors.Is(err, ErrSize) {
		t.Errorf("NewMemory: %v", err)
	}
}

func TestFrame(t *testing.T) {
	f := NewFrame(image.Pt(3, 2))
	f.Fill(image.Rect(1, 0, 9, 1), 0x112233)
	want := []byte{0, 0, 0, 0, 0x33, 0x22, 0x11, 0, 0x33, 0x22, 0x11, 0}
	if got := f.Row(0, 0, 3); !bytes.Equal(got, want) {
		t.Errorf("row %x", got)
	}
	g := NewFrame(image.Pt(2, 5))
	g.Copy(f, g.Bounds())
	if got := g.Row(0, 0, 2); !bytes.Equal(got, want[:8]) {
		t.Errorf("copied row %x", got)
	}
}

func TestWatch(t *testing.T) {
	m, err := NewMemory(image.Pt(100, 50))
	if err != nil {
		t.Fatal(err)
	}
	w := m.Watch()
	whole := image.Rect(0, 0, 100, 50)
	if c := w.Take(); len(c.Rects) != 1 || c.Rects[0] != whole || !c.Cursor || c.Resized {
		t.Errorf("first look %+v", c)
	}
	<-w.C()
	if c := w.Take(); len(c.Rects) != 0 || c.Cursor {
		t.Errorf("nothing happened, but %+v", c)
	}
	none := func(*Frame) {}
	for i := range 10 * maxRects {
		m.Paint(image.Rect(i%90, 0, i%90+1, 1), none)
	}
	<-w.C()
	c := w.Take()
	var box image.Rectangle
	for _, r := range c.Rects {
		box = box.Union(r)
	}
	if len(c.Rects) > maxRects || box != image.Rect(0, 0, 90, 1) {
		t.Errorf("%d rectangles around %v", len(c.Rects), box)
	}
	m.Paint(image.Rect(1, 1, 2, 2), none)
	if err := m.Resize(image.Pt(10, 10)); err != nil {
		t.Fatal(err)
	}
	m.SetCursor(Cursor{})
	if c := w.Take(); !c.Resized || !c.Cursor || len(c.Rects) != 1 || c.Rects[0] != image.Rect(0, 0, 10, 10) {
		t.Errorf("after a resize %+v", c)
	}
	// What is grabbed after a resize into the old frame stays inside of both.
	old := NewFrame(image.Pt(100, 50))
	if err := m.Grab(old, whole); err != nil {
		t.Error(err)
	}
	other := m.Watch()
	w.Close()
	for len(w.C()) > 0 {
		<-w.C()
	}
	m.Paint(whole, none)
	if len(w.C()) != 0 || len(other.C()) != 1 {
		t.Error("a closed watch was told, or an open one was not")
	}
	if other.Err() != nil {
		t.Error(other.Err())
	}
	m.Close()
	if !errors.Is(other.Err(), net.ErrClosed) || !errors.Is(m.Watch().Err(), net.ErrClosed) {
		t.Error("the end was not told")
	}
	if err := m.Grab(old, whole); !errors.Is(err, net.ErrClosed) {
		t.Errorf("grab after close: %v", err)
	}
}

// OpenX11 says in one line what is wrong with the display.
func TestOpenX11Fails(t *testing.T) {
	t.Setenv("DISPLAY", "")
	for _, display := range []string{"", "nonsense", ":59999", ":-1"} {
		if x, err := OpenX11(display); err == nil {
			x.Close()
			t.Errorf("%q opened", display)
		}
	}
}
