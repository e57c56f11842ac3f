package sim

// An event is a packet that comes out of a line, or a call.
type event struct {
	at   int64
	seq  uint64 // order of making, so that ties are not luck
	fn   func()
	line *line
	up   bool // came out at the network's end
	past bool // the line's taps have seen it
	pkt  *buffer
}

// eventQueue is a binary heap of values: one slice, no garbage.
type eventQueue struct {
	heap []event
	seq  uint64
}

func (q *eventQueue) len() int     { return len(q.heap) }
func (q *eventQueue) first() int64 { return q.heap[0].at }

func (q *eventQueue) less(i, j int) bool {
	a, b := &q.heap[i], &q.heap[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

func (q *eventQueue) push(e event) {
	q.seq++
	e.seq = q.seq
	q.heap = append(q.heap, e)
	i := len(q.heap) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !q.less(i, up) {
			break
		}
		q.heap[i], q.heap[up] = q.heap[up], q.heap[i]
		i = up
	}
}

func (q *eventQueue) pop() event {
	top := q.heap[0]
	last := len(q.heap) - 1
	q.heap[0] = q.heap[last]
	q.heap[last] = event{}
	q.heap = q.heap[:last]
	for i := 0; ; {
		kid := 2*i + 1
		if kid >= last {
			break
		}
		if kid+1 < last && q.less(kid+1, kid) {
			kid++
		}
		if !q.less(kid, i) {
			break
		}
		q.heap[i], q.heap[kid] = q.heap[kid], q.heap[i]
		i = kid
	}
	return top
}

// smallBuffer holds any packet of an Ethernet line, largeBuffer any packet. Of
// the large ones, which are rare, no more than keepLarge are kept.
const (
	smallBuffer = 2048
	largeBuffer = 1<<16 + 64
	keepLarge   = 64
)

// A buffer is one packet on its way. It has one owner at a time.
type buffer struct {
	b     []byte
	space []byte
	origin
}

// origin is where a packet comes from. All its copies and fragments share it.
type origin struct {
	id        uint64 // counts the packets of the world; 0 = not counted yet
	duplicate bool   // made by a line
	forged    bool   // made or changed by an adversary
	corrupted bool   // changed by a line
}

// pool keeps buffers for reuse; at most MaxInFlight small ones are ever made.
type pool struct{ free, large []*buffer }

func (p *pool) copy(pkt []byte) *buffer {
	list, size := &p.free, smallBuffer
	if len(pkt) > smallBuffer {
		list, size = &p.large, max(largeBuffer, len(pkt))
	}
	var b *buffer
	if n := len(*list); n > 0 && len((*list)[n-1].space) >= len(pkt) {
		b, *list = (*list)[n-1], (*list)[:n-1]
	} else {
		b = &buffer{space: make([]byte, size)}
	}
	b.b = b.space[:len(pkt)]
	copy(b.b, pkt)
	return b
}

// twin copies pkt, which is made of from, into a buffer of the same origin.
func (p *pool) twin(from *buffer, pkt []byte) *buffer {
	b := p.copy(pkt)
	b.origin = from.origin
	return b
}

func (p *pool) release(b *buffer) {
	b.b, b.origin = nil, origin{}
	if len(b.space) == smallBuffer {
		p.free = append(p.free, b)
	} else if len(p.large) < keepLarge {
		p.large = append(p.large, b)
	}
}
