package rfb

import (
	"bytes"
	"image"
	"time"

	"shipworm/ra/screen"
)

// A picture is what the desktop shows next to what one viewer has, cut into
// tiles. It decides what to send and how; it does no I/O and has no clock.
//
// A tile's life:
//
//	         paint          plan: equal
//	same ----------> dirty -------------> same
//	  ^                |  \
//	  |  plan: exact   |   \ plan: photo
//	  +----------------+    v
//	  |   refine, after   lossy <--+
//	  +--- settle ----------|      | paint and plan: photo
//	                        +------+
//
// Every pixel sent is copied to sent at once: newer paint makes it dirty
// again. Pixels the viewer does not have carry 0xff in their fourth byte in
// sent, so they never equal a pixel of the desktop.
type picture struct {
	now, sent *screen.Frame
	cols      int
	tiles     []tile
}

type tile struct {
	dirty   image.Rectangle // part that may differ
	lossy   bool
	changed time.Time // last time a difference was found
}

func newPicture(size image.Point) *picture {
	p := &picture{now: screen.NewFrame(size), sent: screen.NewFrame(size), cols: (size.X + tileSide - 1) / tileSide}
	p.tiles = make([]tile, p.cols*((size.Y+tileSide-1)/tileSide))
	p.forget(p.now.Bounds())
	return p
}

func (p *picture) rect(i int) image.Rectangle {
	x, y := i%p.cols*tileSide, i/p.cols*tileSide
	return image.Rect(x, y, x+tileSide, y+tileSide).Intersect(p.now.Bounds())
}

// each calls f for every tile that r touches.
func (p *picture) each(r image.Rectangle, f func(i int, part image.Rectangle)) {
	r = r.Intersect(p.now.Bounds())
	if r.Empty() {
		return
	}
	for y := r.Min.Y / tileSide; y <= (r.Max.Y-1)/tileSide; y++ {
		for x := r.Min.X / tileSide; x <= (r.Max.X-1)/tileSide; x++ {
			i := y*p.cols + x
			f(i, p.rect(i).Intersect(r))
		}
	}
}

// forget marks r as unknown to the viewer.
func (p *picture) forget(r image.Rectangle) {
	r = r.Intersect(p.now.Bounds())
	for y := r.Min.Y; y < r.Max.Y; y++ {
		row := p.sent.Row(y, r.Min.X, r.Max.X)
		for i := range row {
			row[i] = 0xff
		}
	}
	p.painted(r)
}

// painted marks r as possibly different; now holds its newest pixels.
func (p *picture) painted(r image.Rectangle) {
	p.each(r, func(i int, part image.Rectangle) {
		p.tiles[i].dirty = p.tiles[i].dirty.Union(part)
	})
}

// A policy says what a viewer can read and wants.
type policy struct {
	exact  method // asRaw, asZRLE or asTight
	photos bool   // photo-like tiles may go as JPEG first
	settle time.Duration
	batch  int // tiles refined in one update
}

// plan returns what to send of region and takes it as sent. The pieces do not
// overlap and are in a fixed order.
func (p *picture) plan(now time.Time, region image.Rectangle, pol policy, sw *swatch) []piece {
	region = region.Intersect(p.now.Bounds())
	// A viewer that looks at a part might never look at the rest of a tile
	// again: it gets exact pixels only.
	photos := pol.photos && region == p.now.Bounds()
	var m merger
	p.each(region, func(i int, part image.Rectangle) {
		t := &p.tiles[i]
		d := t.dirty.Intersect(region)
		if d.Empty() {
			return
		}
		if t.dirty.In(region) {
			t.dirty = image.Rectangle{}
		}
		if d = difference(p.now, p.sent, d); d.Empty() {
			return
		}
		t.changed = now
		// Nearly all of a tile: take all of it, it merges with its neighbours.
		if 4*area(d) >= 3*area(part) {
			d = part
		}
		how := pol.exact
		if photos {
			if sw.load(p.now, d); sw.photo() {
				how, t.lossy = asJPEG, true
			} else if d == p.rect(i) {
				t.lossy = false
			}
		}
		p.sent.Copy(p.now, d)
		m.add(piece{d, how})
	})
	left := pol.batch
	p.each(region, func(i int, part image.Rectangle) {
		t := &p.tiles[i]
		if left == 0 || !t.lossy || now.Sub(t.changed) < pol.settle || part != p.rect(i) {
			return
		}
		t.lossy = false
		left--
		m.add(piece{part, pol.exact})
	})
	return m.done()
}

// due returns when the first tile will have settled; zero and false if none is
// lossy.
func (p *picture) due(settle time.Duration) (time.Time, bool) {
	var first time.Time
	for i := range p.tiles {
		if t := &p.tiles[i]; t.lossy && (first.IsZero() || t.changed.Before(first)) {
			first = t.changed
		}
	}
	if first.IsZero() {
		return first, false
	}
	return first.Add(settle), true
}

// difference returns the smallest rectangle in r that holds every pixel in
// which a and b differ.
func difference(a, b *screen.Frame, r image.Rectangle) image.Rectangle {
	equal := func(y, x0, x1 int) bool { return bytes.Equal(a.Row(y, x0, x1), b.Row(y, x0, x1)) }
	for r.Min.Y < r.Max.Y && equal(r.Min.Y, r.Min.X, r.Max.X) {
		r.Min.Y++
	}
	for r.Max.Y > r.Min.Y && equal(r.Max.Y-1, r.Min.X, r.Max.X) {
		r.Max.Y--
	}
	if r.Empty() {
		return image.Rectangle{}
	}
	left, right := r.Max.X, r.Min.X
	for y := r.Min.Y; y < r.Max.Y; y++ {
		if left > r.Min.X && !equal(y, r.Min.X, left) {
			x := r.Min.X
			for equal(y, x, x+1) {
				x++
			}
			left = x
		}
		if right < r.Max.X && !equal(y, right, r.Max.X) {
			x := r.Max.X
			for equal(y, x-1, x) {
				x--
			}
			right = x
		}
	}
	r.Min.X, r.Max.X = left, right
	return r
}

func area(r image.Rectangle) int { return r.Dx() * r.Dy() }
