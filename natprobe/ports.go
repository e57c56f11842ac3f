package natprobe

import (
	"crypto/rand"
	"encoding/binary"

	"shipworm/natprobe/report"
)

// portPairs is how many pairs of neighbouring local ports are tried, each in
// its own pairSpace ports.
const (
	portPairs = 3
	pairSpace = 5400
)

// askPorts opens sockets on pairs of an even port and the odd one after it,
// the even ones first: so a NAT that counts is not taken for one that keeps
// neighbours together.
func (m *machine) askPorts() {
	var dice [2 * portPairs]byte
	rand.Read(dice[:])
	for odd := range uint16(2) {
		for i := range portPairs {
			// 32768-49151 are registered ports without well-known services (RFC
			// 5780, 4.1); each pair has a part of them to itself.
			even := 32768 + uint16(i)*pairSpace + binary.BigEndian.Uint16(dice[2*i:])%(pairSpace/2)*2
			m.extras.ports = append(m.extras.ports, m.persist(m.extra(&ask{sock: m.open(even+odd, options{}), to: m.a1, then: m.numbered})))
		}
	}
	for _, a := range []*ask{m.m1, m.f1} {
		m.extras.again = append(m.extras.again, m.persist(m.extra(&ask{sock: a.sock, to: a.to})))
	}
}

// numbered is called when a fresh socket has its answer. After the last one it
// tries the prediction.
func (m *machine) numbered() {
	for _, a := range m.extras.ports {
		if !a.over {
			return
		}
	}
	if kind, _, next := m.allocation(); kind == report.Sequential && m.extras.guess == nil {
		m.extras.expected = next
		m.extras.guess = m.persist(m.extra(&ask{sock: m.open(0, options{}), to: m.a1}))
	}
}

// allocation compares the external ports of the sockets, in their order.
func (m *machine) allocation() (kind report.AllocationKind, delta int, next uint16) {
	pairs := m.pairs()
	kept := 0
	for _, p := range pairs {
		if p[0].Port() == p[1].Port() {
			kept++
		}
	}
	switch {
	case len(pairs) < 2:
		return report.AllocationUnknown, 0, 0
	case kept == len(pairs):
		return report.Preserving, 0, 0
	case kept > 0 || len(pairs) < 4:
		return report.AllocationUnknown, 0, 0
	}
	// Others use the NAT too: the step is the one seen most often, and rare
	// larger ones are theirs.
	steps, ordered := map[int]int{}, 0
	for i := 1; i < len(pairs); i++ {
		d := int(pairs[i][1].Port()) - int(pairs[i-1][1].Port())
		steps[d]++
		if d != 0 && d >= -maxStep && d <= maxStep {
			ordered++
		}
	}
	for d, n := range steps {
		if n > steps[delta] || delta == 0 {
			delta = d
		}
	}
	if delta == 0 || 2*steps[delta] < len(pairs) || 4*ordered < 3*(len(pairs)-1) {
		return report.Random, 0, 0
	}
	return report.Sequential, delta, uint16(int(pairs[len(pairs)-1][1].Port()) + delta)
}

// maxStep is the largest step between ports that looks like counting.
const maxStep = 64

func (m *machine) reportPorts(r *report.Report) {
	pairs := m.pairs()
	if len(pairs) == 0 {
		return
	}
	same, parity := 0, 0
	pool := map[any]bool{}
	for _, p := range pairs {
		if p[0].Port() == p[1].Port() {
			same++
		}
		if p[0].Port()%2 == p[1].Port()%2 {
			parity++
		}
		pool[p[1].Addr()] = true
	}
	for _, a := range []*ask{m.m21, m.m22, m.m12} {
		if x := a.mapped(); x.IsValid() {
			pool[x.Addr()] = true
		}
	}
	r.PortPreserving = report.Unknown
	if same == 0 || same == len(pairs) {
		r.PortPreserving = report.Is(same > 0)
	}
	r.Pool = len(pool)
	if r.Pool > 1 {
		r.Pooling = report.Arbitrary
	}
	kind, delta, next := m.allocation()
	r.Allocation = report.Allocation{Kind: kind, Delta: delta, Next: next}
	if len(m.extras.ports) == 0 {
		return
	}
	if r.Pool == 1 && len(pairs) > 2*portPairs {
		r.Pooling = report.Paired
	}
	r.Parity = report.Is(parity == len(pairs))
	r.Contiguity = m.contiguity()
	r.Deterministic = report.Unknown
	for i, a := range []*ask{m.m1, m.f1} {
		if x, y := a.mapped(), m.extras.again[i].mapped(); x.IsValid() && y.IsValid() && r.Deterministic != report.No {
			r.Deterministic = report.Is(x == y)
			if x != y {
				r.Note("deterministic", "a socket had another endpoint at the end than at the beginning")
			}
		}
	}
	if g := m.extras.guess; g != nil {
		r.Allocation.Predicted = report.Unknown
		if x := g.mapped(); x.IsValid() {
			r.Allocation.Predicted = report.Is(x.Port() == m.extras.expected)
			r.Allocation.Next = uint16(int(x.Port()) + delta)
		}
	}
}

// contiguity tells whether neighbouring ports stay neighbours (RFC 4787,
// 4.2.3).
func (m *machine) contiguity() report.Verdict {
	v := report.Unknown
	for i := range portPairs {
		even, odd := m.extras.ports[i].mapped(), m.extras.ports[i+portPairs].mapped()
		if !even.IsValid() || !odd.IsValid() {
			continue
		}
		if odd.Port() != even.Port()+1 {
			return report.No
		}
		v = report.Yes
	}
	return v
}
