package engine

import "time"

// schedule is a heap of peers by due time.
type schedule []*peer

// set plans p for at.
func (s *schedule) set(p *peer, at time.Time) {
	p.due = at
	if p.index < 0 {
		p.index = len(*s)
		*s = append(*s, p)
	}
	s.down(s.up(p.index))
}

// remove takes p out, if it is in.
func (s *schedule) remove(p *peer) {
	i := p.index
	if i < 0 {
		return
	}
	last := len(*s) - 1
	s.swap(i, last)
	(*s)[last] = nil
	*s = (*s)[:last]
	p.index = -1
	if i < last {
		s.down(s.up(i))
	}
}

func (s schedule) swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].index, s[j].index = i, j
}

func (s schedule) up(i int) int {
	for i > 0 {
		parent := (i - 1) / 2
		if !s[i].due.Before(s[parent].due) {
			break
		}
		s.swap(i, parent)
		i = parent
	}
	return i
}

func (s schedule) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(s); child++ {
			if s[child].due.Before(s[least].due) {
				least = child
			}
		}
		if least == i {
			return
		}
		s.swap(i, least)
		i = least
	}
}
