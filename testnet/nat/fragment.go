package nat

import "shipworm/testnet/internal/ipv4"

// A datagram in pieces has its ports in the first only, so what was decided
// about that one is remembered for the others (RFC 4787, 11). Nothing is put
// together: checksums are changed by difference, which needs one piece only.

// maxHeldBytes bounds the pieces of one datagram that are held (REQ-14a).
const maxHeldBytes = 64 << 10

// A fragmentKey tells datagrams apart (RFC 791, 3.2), and the sides.
type fragmentKey struct {
	src, dst uint32
	id       uint16
	proto    byte
	outbound bool
}

// A datagram is what is known of one that comes in pieces.
type datagram struct {
	due      int64
	decided  bool // the first piece came
	action   Action
	reason   Reason
	src, dst uint32 // after translation
	id       uint16
	held     [][]byte
	bytes    int
}

// fragments are the datagrams in pieces, oldest first in order.
type fragments struct {
	known map[fragmentKey]*datagram
	order []fragmentKey
}

func (f *flow) key(pkt []byte, outbound bool) fragmentKey {
	return fragmentKey{f.src.addr, f.dst.addr, be.Uint16(pkt[4:]), f.proto, outbound}
}

// expireFragments forgets datagrams whose time is over, with what is held.
func (n *NAT) expireFragments(now int64) {
	f := &n.fragments
	for len(f.order) > 0 && f.known[f.order[0]].due <= now {
		delete(f.known, f.order[0])
		f.order = f.order[1:]
	}
}

// piece returns the entry of a datagram, or nil if there are too many.
func (n *NAT) piece(k fragmentKey, now int64) *datagram {
	f := &n.fragments
	d := f.known[k]
	if d != nil {
		return d
	}
	if len(f.order) >= n.cfg.MaxFragmented {
		return nil
	}
	if f.known == nil {
		f.known = make(map[fragmentKey]*datagram)
	}
	d = &datagram{due: now + int64(n.cfg.FragmentLifetime)}
	f.known[k] = d
	f.order = append(f.order, k)
	return d
}

// firstFragment remembers the verdict on a first piece, pkt being the piece
// after translation, and lets go what waited for it.
func (n *NAT) firstFragment(k fragmentKey, pkt []byte, v Verdict, now int64) Verdict {
	d := n.piece(k, now)
	if d == nil {
		return v // the later pieces will find no verdict
	}
	d.decided, d.action, d.reason = true, v.Action, v.Reason
	d.src, d.dst, d.id = ipv4.Src(pkt), ipv4.Dst(pkt), be.Uint16(pkt[4:])
	if v.Action != Drop {
		for _, p := range d.held {
			d.apply(p)
		}
		v.Also = d.held
	}
	d.held = nil
	return v
}

// laterFragment treats a piece without ports as the first one was.
func (n *NAT) laterFragment(k fragmentKey, pkt []byte, now int64) Verdict {
	d := n.fragments.known[k]
	switch {
	case d != nil && d.decided:
		switch d.action {
		case Forward:
			d.apply(pkt)
			return n.forward(FragmentFollows)
		case Back:
			d.apply(pkt)
			return n.back(FragmentFollows)
		}
		return n.drop(d.reason)
	case n.cfg.Fragments != FragmentsAnyOrder:
		return n.drop(FragmentEarly)
	}
	if d = n.piece(k, now); d == nil || d.bytes+len(pkt) > maxHeldBytes {
		return n.drop(TooManyFragments)
	}
	d.held = append(d.held, append([]byte(nil), pkt...))
	d.bytes += len(pkt)
	n.counts[FragmentHeld]++
	return Verdict{Action: Hold, Reason: FragmentHeld}
}

func (d *datagram) apply(pkt []byte) {
	rewriteAddr(pkt, 12, d.src)
	rewriteAddr(pkt, 16, d.dst)
	rewriteID(pkt, d.id)
}

// rewriteID changes the identification of a packet.
func rewriteID(pkt []byte, id uint16) {
	var d ipv4.Delta
	d.Replace16(be.Uint16(pkt[4:]), id)
	be.PutUint16(pkt[4:], id)
	be.PutUint16(pkt[10:], d.Apply(be.Uint16(pkt[10:])))
}
