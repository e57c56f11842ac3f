package engine

import "time"

// pastPeers is how many histories are kept of peers without an entry. The rate
// of attempts that strangers can cause fills less within the window.
const pastPeers = 8192

// past keeps the histories of peers that have no entry: eviction must not give
// anybody fresh tries. When full, the history noted first goes.
type past struct {
	histories map[[16]byte]history
	order     [][16]byte // ring of keys, in the order they were noted
	head      int
}

func (p *past) get(key [16]byte) (history, bool) {
	h, ok := p.histories[key]
	return h, ok
}

// note keeps h, unless it is empty.
func (p *past) note(now time.Time, key [16]byte, h history) {
	h.expire(now)
	if h.n == 0 {
		delete(p.histories, key)
		return
	}
	if p.histories == nil {
		p.histories = map[[16]byte]history{}
	}
	if _, known := p.histories[key]; !known {
		if len(p.order) < pastPeers {
			p.order = append(p.order, key)
		} else {
			if p.order[p.head] != key {
				delete(p.histories, p.order[p.head])
			}
			p.order[p.head] = key
			p.head = (p.head + 1) % pastPeers
		}
	}
	p.histories[key] = h
}
