package sim

// An event is a packet that comes out of a line, or a call.
type event struct {
	at   int64
	fn   func()
	line *line
	up   bool // came out at the network's end
	past bool // the line's taps have seen it
	pkt  *buffer
}

// eventQueue is a binary heap of places in a table of events: sorting moves no
// pointers, and there is no garbage.
type eventQueue struct {
	heap   []place
	events []event
	free   []int32 // of events
	seq    uint64
}

type place struct {
	at    int64
	seq   uint64 // order of making, so that ties are not luck
	event int32
}

func (q *eventQueue) len() int     { return len(q.heap) }
func (q *eventQueue) first() int64 { return q.heap[0].at }

func (p *place) before(o *place) bool { return p.at < o.at || p.at == o.at && p.seq < o.seq }

func (q *eventQueue) push(e event) {
	if len(q.free) == 0 {
		q.free = append(q.free, int32(len(q.events)))
		q.events = append(q.events, event{})
	}
	slot := q.free[len(q.free)-1]
	q.free = q.free[:len(q.free)-1]
	q.events[slot] = e
	q.seq++
	p := place{e.at, q.seq, slot}
	i := len(q.heap)
	q.heap = append(q.heap, p)
	for i > 0 {
		up := (i - 1) / 2
		if !p.before(&q.heap[up]) {
			break
		}
		q.heap[i] = q.heap[up]
		i = up
	}
	q.heap[i] = p
}

func (q *eventQueue) pop() event {
	slot := q.heap[0].event
	e := q.events[slot]
	q.events[slot] = event{}
	q.free = append(q.free, slot)
	end := len(q.heap) - 1
	last := q.heap[end]
	q.heap = q.heap[:end]
	if end == 0 {
		return e
	}
	i := 0
	for kid := 1; kid < end; kid = 2*i + 1 {
		if kid+1 < end && q.heap[kid+1].before(&q.heap[kid]) {
			kid++
		}
		if !q.heap[kid].before(&last) {
			break
		}
		q.heap[i] = q.heap[kid]
		i = kid
	}
	q.heap[i] = last
	return e
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
