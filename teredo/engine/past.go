package engine

import "time"

// pastPeers is how many histories are kept of peers without an entry. The rate
// of attempts that strangers can cause fills less within the window.
const pastPeers = 8192

// past keeps the histories of peers that have no entry: eviction must not give
// anybody fresh tries. When full, the history noted first goes.
type past struct {
	histories map[[16]byte]pastHistory
	order     [][16]byte // ring of keys, in the order they were noted
	head      int
	size      int // of the ring; 0 means pastPeers
}

// pastHistory knows its place in the ring: a key that came, went and came again
// stands there twice, and only the later place is its own.
type pastHistory struct {
	history
	place int
}

func (p *past) get(key [16]byte) (history, bool) {
	h, ok := p.histories[key]
	return h.history, ok
}

// note keeps h, unless it is empty.
func (p *past) note(now time.Time, key [16]byte, h history) {
	h.expire(now)
	if h.n == 0 {
		delete(p.histories, key)
		return
	}
	if p.histories == nil {
		p.histories = map[[16]byte]pastHistory{}
	}
	known, ok := p.histories[key]
	if !ok {
		known.place = p.makePlace(key)
	}
	p.histories[key] = pastHistory{h, known.place}
}

func (p *past) makePlace(key [16]byte) int {
	if p.size == 0 {
		p.size = pastPeers
	}
	if len(p.order) < p.size {
		p.order = append(p.order, key)
		return len(p.order) - 1
	}
	place := p.head
	if first := p.order[place]; p.histories[first].place == place {
		delete(p.histories, first)
	}
	p.order[place] = key
	p.head = (p.head + 1) % p.size
	return place
}
