package rfb

import (
	"image"
	"slices"
	"testing"
	"time"

	"shipworm/ra/screen"
)

func at(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }

func TestDifference(t *testing.T) {
	a, b := screen.NewFrame(image.Pt(20, 20)), screen.NewFrame(image.Pt(20, 20))
	if d := difference(a, b, a.Bounds()); !d.Empty() {
		t.Errorf("equal frames differ in %v", d)
	}
	b.Fill(image.Rect(3, 4, 5, 9), 1)
	b.Fill(image.Rect(7, 6, 8, 7), 1)
	for _, tt := range []struct{ in, want image.Rectangle }{
		{a.Bounds(), image.Rect(3, 4, 8, 9)},
		{image.Rect(0, 0, 4, 6), image.Rect(3, 4, 4, 6)},
		{image.Rect(8, 0, 20, 20), image.Rectangle{}},
		{image.Rect(6, 0, 20, 20), image.Rect(7, 6, 8, 7)},
	} {
		if d := difference(a, b, tt.in); d != tt.want {
			t.Errorf("in %v: %v, want %v", tt.in, d, tt.want)
		}
	}
}

// Only what differs is sent, once; what was painted but looks the same is not.
func TestPlan(t *testing.T) {
	var sw swatch
	pol := policy{exact: asZRLE}
	p := newPicture(image.Pt(200, 100))
	whole := p.now.Bounds()
	if got := p.plan(at(0), whole, pol, &sw); len(got) != 1 || got[0].Rectangle != whole {
		t.Fatalf("first picture: %v", got)
	}
	p.painted(whole)
	if got := p.plan(at(1), whole, pol, &sw); len(got) != 0 {
		t.Fatalf("nothing changed: %v", got)
	}
	small := image.Rect(70, 10, 73, 14)
	p.now.Fill(small, 0xff)
	p.painted(image.Rect(60, 0, 90, 40))
	if got := p.plan(at(2), whole, pol, &sw); !slices.Equal(got, []piece{{small, asZRLE}}) {
		t.Fatalf("small change: %v", got)
	}
	p.forget(image.Rect(0, 0, 10, 10))
	if got := p.plan(at(3), whole, pol, &sw); !slices.Equal(got, []piece{{image.Rect(0, 0, 10, 10), asZRLE}}) {
		t.Fatalf("forgotten: %v", got)
	}
	// A viewer that asks for a part gets the part, and the rest when it asks.
	p.now.Fill(whole, 0xff00)
	p.painted(whole)
	left := image.Rect(0, 0, 30, 100)
	if got := p.plan(at(4), left, pol, &sw); !slices.Equal(got, []piece{{left, asZRLE}}) {
		t.Fatalf("left part: %v", got)
	}
	if got := p.plan(at(5), left, pol, &sw); len(got) != 0 {
		t.Fatalf("left part again: %v", got)
	}
	sum := 0
	for _, r := range p.plan(at(6), whole, pol, &sw) {
		sum += area(r.Rectangle)
	}
	if sum != 170*100 {
		t.Fatalf("the rest has %d pixels", sum)
	}
}

// Photo-like tiles go lossy first, are refined when they rest, and are not
// lossy for a viewer that looks at a part or cannot read JPEG.
func TestPlanPhotos(t *testing.T) {
	var sw swatch
	pol := policy{exact: asZRLE, photos: true, settle: DefaultSettle, batch: 1}
	p := newPicture(image.Pt(128, 64))
	whole := p.now.Bounds()
	p.plan(at(0), whole, pol, &sw)
	paintPhoto(p.now, whole)
	p.painted(whole)
	if got := p.plan(at(0), whole, pol, &sw); !slices.Equal(got, []piece{{whole, asJPEG}}) {
		t.Fatalf("photo: %v", got)
	}
	if due, ok := p.due(pol.settle); !ok || due != at(300) {
		t.Fatalf("due %v, %v", due, ok)
	}
	if got := p.plan(at(299), whole, pol, &sw); len(got) != 0 {
		t.Fatalf("too early: %v", got)
	}
	// Paint in the second tile lets it rest longer.
	p.now.Fill(image.Rect(64, 0, 70, 6), 0)
	p.painted(image.Rect(64, 0, 70, 6))
	if got := p.plan(at(299), whole, pol, &sw); len(got) != 1 || got[0].method != asZRLE {
		t.Fatalf("paint: %v", got)
	}
	first, second := image.Rect(0, 0, 64, 64), image.Rect(64, 0, 128, 64)
	if got := p.plan(at(598), whole, pol, &sw); !slices.Equal(got, []piece{{first, asZRLE}}) {
		t.Fatalf("first tile: %v", got)
	}
	if got := p.plan(at(599), whole, pol, &sw); !slices.Equal(got, []piece{{second, asZRLE}}) {
		t.Fatalf("second tile: %v", got)
	}
	if _, ok := p.due(pol.settle); ok {
		t.Error("still lossy")
	}
	p.forget(whole)
	if got := p.plan(at(700), image.Rect(0, 0, 64, 63), pol, &sw); got[0].method != asZRLE {
		t.Fatalf("part: %v", got)
	}
}

func TestMerge(t *testing.T) {
	var sw swatch
	p := newPicture(image.Pt(4000, 640))
	pieces := p.plan(at(0), p.now.Bounds(), policy{exact: asZRLE}, &sw)
	sum := 0
	for i, a := range pieces {
		sum += area(a.Rectangle)
		if a.Dx() > tightMaxWidth || area(a.Rectangle) > maxPiece {
			t.Errorf("%v is too large", a)
		}
		for _, b := range pieces[:i] {
			if a.Overlaps(b.Rectangle) {
				t.Errorf("%v overlaps %v", a, b)
			}
		}
	}
	if sum != 4000*640 || len(pieces) > 12 {
		t.Errorf("%d pieces with %d pixels", len(pieces), sum)
	}
}
