package rfb

import (
	"encoding/binary"
	"image"

	"shipworm/ra/screen"
)

// tileSide is the side of a ZRLE tile (RFC 6143, 7.7.6), and the unit in which
// changes are found and the choice of encoding is made.
const tileSide = 64

// maxPalette is the largest palette of any encoding (Tight's).
const maxPalette = 256

// A swatch is a tile's pixels, with what the choice of encoding needs to know.
type swatch struct {
	px     []uint32 // 0x00RRGGBB, row by row
	w, h   int
	colors [maxPalette]uint32 // the first n are the palette
	n      int                // number of colours, maxPalette+1 if more
	runs   int                // number of runs of equal pixels

	buf   [tileSide * tileSide]uint32
	index [1024]uint16 // hash of colour -> place in colors + 1
}

// load reads r, at most a tile, from f.
func (s *swatch) load(f *screen.Frame, r image.Rectangle) {
	s.w, s.h = r.Dx(), r.Dy()
	s.px = s.buf[:s.w*s.h]
	i := 0
	for y := r.Min.Y; y < r.Max.Y; y++ {
		row := f.Row(y, r.Min.X, r.Max.X)
		for ; len(row) >= 4; row = row[4:] {
			s.px[i] = binary.LittleEndian.Uint32(row)
			i++
		}
	}
	s.count()
}

func (s *swatch) count() {
	s.n, s.runs = 0, 0
	clear(s.index[:])
	last := ^s.px[0]
	for _, p := range s.px {
		if p == last {
			continue
		}
		s.runs++
		last = p
		if s.n <= maxPalette {
			s.add(p)
		}
	}
}

func hash(p uint32) uint32 { return p * 0x9e3779b1 >> 22 }

func (s *swatch) add(p uint32) {
	for i := hash(p); ; i = (i + 1) % uint32(len(s.index)) {
		j := s.index[i]
		if j == 0 {
			if s.n < maxPalette {
				s.colors[s.n] = p
				s.index[i] = uint16(s.n + 1)
			}
			s.n++
			return
		}
		if s.colors[j-1] == p {
			return
		}
	}
}

// place returns the place of a colour of the palette; n <= maxPalette.
func (s *swatch) place(p uint32) byte {
	for i := hash(p); ; i = (i + 1) % uint32(len(s.index)) {
		if j := s.index[i]; s.colors[j-1] == p {
			return byte(j - 1)
		}
	}
}

// photo tells pictures from drawn surfaces: many colours and hardly two equal
// neighbours. Text with smooth edges has many colours too, but long runs.
func (s *swatch) photo() bool {
	return len(s.px) >= 1024 && s.n > maxPalette && s.runs > len(s.px)/2
}
