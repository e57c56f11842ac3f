package rfb

// maxPiece bounds the pixels of one rectangle, so that encoding one never
// needs much memory and a viewer shows something early.
const maxPiece = 256 << 10

// A merger joins pieces that touch: every rectangle costs a header and, in a
// zlib stream, a flush. Pieces come tile by tile, row by row.
type merger struct{ out []piece }

func (m *merger) add(p piece) {
	// Tight's own palette covers one tile at most, so those stay tiles.
	if n := len(m.out); n > 0 && p.method != asTight {
		l := &m.out[n-1]
		if l.method == p.method && l.Max.X == p.Min.X && l.Min.Y == p.Min.Y && l.Max.Y == p.Max.Y &&
			p.Max.X-l.Min.X <= tightMaxWidth {
			l.Max.X = p.Max.X
			return
		}
	}
	m.out = append(m.out, p)
}

// done joins rows that lie under each other and returns the pieces.
func (m *merger) done() []piece {
	var out []piece
	open := make(map[[2]int]int) // x range -> last piece with it
	for _, p := range m.out {
		key := [2]int{p.Min.X, p.Max.X}
		if i, ok := open[key]; ok && p.method != asTight {
			l := &out[i]
			if l.method == p.method && l.Max.Y == p.Min.Y && area(l.Rectangle)+area(p.Rectangle) <= maxPiece {
				l.Max.Y = p.Max.Y
				continue
			}
		}
		open[key] = len(out)
		out = append(out, p)
	}
	return out
}
