package engine

import (
	"bytes"
	"net/netip"
	"time"
)

// Bounds of a relay's peer table.
const (
	maxRelayPeers = 1 << 16
	relayOthers   = 4 // 1/4 of the table is for peers that have not answered

	// A peer that proved itself this recently is no victim of a forger: it is
	// tried again and again while somebody sends to it.
	relayKnown = 10 * time.Minute
	relayPause = 5 * time.Second // between two such attempts
)

// relayPeer is a client that a native node sent to. Its trust is unknown until
// a packet came, matched if the UDP source of that was the one in its address,
// and proven once it answered a bubble of ours.
type relayPeer struct {
	key    [16]byte
	mapped netip.AddrPort // where its packets go to and come from
	host   netip.Addr     // in its address, as long as it is among the others
	trust  trust
	queue  queue

	lastRx time.Time // zero: never
	due    time.Time // of the next try, or after which there may be one
	tries  int       // in this attempt
	credit int       // bytes that it may be sent while only matched

	told time.Time // last bubble that one of its asked for

	links [3]relayLink
}

// Lists that a relayPeer is in, and its links in them.
const (
	relayByUse  = iota // trusted or others
	relayByHost        // others with the same IPv4 address
	relayByDue         // trying
)

type relayLink struct {
	newer, older *relayPeer
	in           *relayList
}

func (p *relayPeer) ip() netip.Addr { return netip.AddrFrom16(p.key) }

// usable reports whether data may go straight to the peer.
func (p *relayPeer) usable(now time.Time) bool {
	return p.trust != unknown && now.Sub(p.lastRx) < peerValid
}

// known reports whether the peer proved itself not long ago.
func (p *relayPeer) known(now time.Time) bool {
	return p.trust == proven && now.Sub(p.lastRx) < relayKnown
}

func (p *relayPeer) trying() bool { return p.links[relayByDue].in != nil }

// relayList is a list of peers in the order they were pushed.
type relayList struct {
	which          int
	newest, oldest *relayPeer
	n              int
}

func (l *relayList) push(p *relayPeer) {
	k := &p.links[l.which]
	k.in, k.older, k.newer = l, l.newest, nil
	if l.newest != nil {
		l.newest.links[l.which].newer = p
	} else {
		l.oldest = p
	}
	l.newest = p
	l.n++
}

func (l *relayList) remove(p *relayPeer) {
	k := &p.links[l.which]
	if k.newer != nil {
		k.newer.links[l.which].older = k.older
	} else {
		l.newest = k.older
	}
	if k.older != nil {
		k.older.links[l.which].newer = k.newer
	} else {
		l.oldest = k.newer
	}
	*k = relayLink{}
	l.n--
}

// relayTable is a bounded table of peers. Trusted peers and others each
// displace only their like, the least recently used first, and others with one
// IPv4 address first of all.
type relayTable struct {
	entries               map[[16]byte]*relayPeer
	trusted, others       relayList
	hosts                 map[netip.Addr]*relayList
	trying                relayList // in the order they are due: every wait is equally long
	maxTrusted, maxOthers int
	queued                int // bytes in all queues
}

func (t *relayTable) init(size int) {
	t.entries, t.hosts = map[[16]byte]*relayPeer{}, map[netip.Addr]*relayList{}
	t.trying.which = relayByDue
	t.maxOthers = size / relayOthers
	t.maxTrusted = size - t.maxOthers
}

// add makes an entry for a peer that has not answered. It never fails; an older
// one may have to go.
func (r *Relay) add(key [16]byte, mapped netip.AddrPort) *relayPeer {
	t := &r.peers
	p := &relayPeer{key: key, mapped: mapped, host: mapped.Addr()}
	t.entries[key] = p
	l := t.hosts[p.host]
	if l == nil {
		l = &relayList{which: relayByHost}
		t.hosts[p.host] = l
	}
	l.push(p)
	t.others.push(p)
	if l.n > othersPerHost {
		r.remove(l.oldest, DropEvicted)
	}
	if t.others.n > t.maxOthers {
		r.remove(t.others.oldest, DropEvicted)
	}
	return p
}

// used marks p as used just now.
func (t *relayTable) used(p *relayPeer) {
	for i := range p.links[:relayByDue] {
		if l := p.links[i].in; l != nil && l.newest != p {
			l.remove(p)
			l.push(p)
		}
	}
}

// promote moves p to the trusted peers.
func (r *Relay) promote(p *relayPeer) {
	t := &r.peers
	if p.links[relayByUse].in == &t.trusted {
		return
	}
	t.unlink(p)
	t.trusted.push(p)
	if t.trusted.n > t.maxTrusted {
		r.remove(t.trusted.oldest, DropEvicted)
	}
}

// unlink takes p out of the lists by use and by host.
func (t *relayTable) unlink(p *relayPeer) {
	if l := p.links[relayByUse].in; l != nil {
		l.remove(p)
	}
	if l := p.links[relayByHost].in; l != nil {
		l.remove(p)
		if l.n == 0 {
			delete(t.hosts, p.host)
		}
	}
}

// remove removes p, counting what it had queued, or its going, under why.
func (r *Relay) remove(p *relayPeer, why Drop) {
	t := &r.peers
	if why == DropEvicted {
		r.drop(why)
	}
	r.empty(p, why)
	t.settle(p)
	t.unlink(p)
	delete(t.entries, p.key)
}

// settle ends p's attempt, if there is one.
func (t *relayTable) settle(p *relayPeer) {
	if p.trying() {
		t.trying.remove(p)
	}
}

// hold keeps a copy of a packet for p. The oldest ones make room: the sender
// has repeated them by now if they mattered.
func (r *Relay) hold(now time.Time, p *relayPeer, packet []byte) {
	q := &p.queue
	for len(q.packets) == queuePackets || q.bytes+len(packet) > queueBytes {
		r.release(q)
		r.drop(DropQueueFull)
	}
	if r.peers.queued+len(packet) > queuesBytes {
		r.drop(DropQueueFull)
		return
	}
	q.packets = append(q.packets, waiting{packet: bytes.Clone(packet), since: now})
	q.bytes += len(packet)
	r.peers.queued += len(packet)
}

// release takes the oldest packet of q, which must hold one.
func (r *Relay) release(q *queue) waiting {
	w := q.packets[0]
	n := copy(q.packets, q.packets[1:])
	q.packets[n] = waiting{}
	q.packets = q.packets[:n]
	q.bytes -= len(w.packet)
	r.peers.queued -= len(w.packet)
	return w
}

// empty drops what p has queued.
func (r *Relay) empty(p *relayPeer, why Drop) {
	for len(p.queue.packets) > 0 {
		r.release(&p.queue)
		r.drop(why)
	}
	p.queue.packets = nil
}
