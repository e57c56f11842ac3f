package firewall

import (
	"container/heap"
	"net/netip"
	"time"

	"shipworm/testnet/nat"
)

// A flow is what goes on between two endpoints. Echo has its identifier as the
// inside port and no remote one; other protocols have no ports.
type flow struct {
	proto          byte
	inside, remote netip.AddrPort
}

// state is what is known of a flow.
type state struct {
	flow
	expires     time.Time
	timer       time.Time // the next time at which expire looks at it
	out, in     bool      // something went that way
	established bool      // TCP
	finOut      bool
	finIn       bool
	reset       bool
}

// closed reports whether a TCP connection has ended, as far as can be seen.
func (s *state) closed() bool { return s.reset || s.finOut && s.finIn }

// scope is the part of a flow that the filter looks at.
func (f *Firewall) scope(k flow) flow {
	switch f.cfg.Filtering {
	case nat.EndpointIndependent:
		k.remote = netip.AddrPort{}
	case nat.AddressDependent:
		k.remote = netip.AddrPortFrom(k.remote.Addr(), 0)
	}
	return k
}

// add remembers a flow; nil if there is no room.
func (f *Firewall) add(k flow) *state {
	if len(f.flows) >= f.cfg.MaxFlows {
		return nil
	}
	s := &state{flow: k}
	f.flows[k] = s
	f.open[f.scope(k)]++
	return s
}

// keep notes that a packet of a flow passed. Only what goes out prolongs its
// life (REC-16), except for TCP, where either side shows that it lives.
func (f *Firewall) keep(s *state, now time.Time, p *packet, out bool) {
	if p.flags&(tcpSYN|tcpACK) == tcpSYN && s.closed() {
		*s = state{flow: s.flow, expires: s.expires, timer: s.timer} // the ports are used again
	}
	if out {
		s.out, s.finOut = true, s.finOut || p.flags&tcpFIN != 0
	} else {
		s.in, s.finIn = true, s.finIn || p.flags&tcpFIN != 0
	}
	s.reset = s.reset || p.flags&tcpRST != 0
	s.established = s.established || s.out && s.in && p.flags&(tcpACK|tcpSYN) == tcpACK
	life := f.cfg.Other
	switch {
	case s.proto == protoUDP && min(s.inside.Port(), s.remote.Port()) < 1024:
		life = f.cfg.WellKnown
	case s.proto == protoUDP:
		life = f.cfg.UDP
	case s.proto == protoTCP && s.established && !s.closed():
		life = f.cfg.Established
	case s.proto == protoTCP:
		life = f.cfg.Transitory
	case s.proto == protoFragment:
		life = fragmentLife
	}
	if out || s.timer.IsZero() || s.proto == protoTCP || s.proto == protoFragment {
		s.expires = now.Add(life)
	}
	// A timer that comes too early is set again; it must not come too late.
	if s.timer.IsZero() || s.expires.Before(s.timer) {
		s.timer = s.expires
		heap.Push(&f.idle, timer{s.expires, s})
	}
}

// expire forgets the flows whose time is over.
func (f *Firewall) expire(now time.Time) {
	for len(f.idle) > 0 && !now.Before(f.idle[0].at) {
		s := f.idle[0].s
		mine := f.idle[0].at.Equal(s.timer)
		if mine && now.Before(s.expires) {
			f.idle[0].at, s.timer = s.expires, s.expires
			heap.Fix(&f.idle, 0)
			continue
		}
		heap.Pop(&f.idle)
		if !mine || f.flows[s.flow] != s {
			continue // an earlier timer has the say, or had
		}
		delete(f.flows, s.flow)
		k := f.scope(s.flow)
		if f.open[k]--; f.open[k] == 0 {
			delete(f.open, k)
		}
	}
}

// A timer has expire look at a flow.
type timer struct {
	at time.Time
	s  *state
}

type timers []timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)        { *t = append(*t, x.(timer)) }
func (t *timers) Pop() any {
	old := *t
	last := old[len(old)-1]
	*t = old[:len(old)-1]
	return last
}
