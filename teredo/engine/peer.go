package engine

import (
	"net/netip"
	"time"
)

// Bounds of the peer table.
const (
	defaultPeers  = 4096
	minPeers      = 16
	othersShare   = 8  // 1/8 of the table is for strangers, 1/8 for peers that the host wants
	othersPerHost = 64 // of the strangers, with the same IPv4 address

	peerValid   = 30 * time.Second // since the last reception (RFC 4380, 5.2.4)
	peerForget  = 10 * time.Minute
	peerRefresh = 25 * time.Second // ask for a sign of life before the entry lapses
)

// trust is how far a peer has proved to receive where it says it does.
type trust uint8

const (
	unknown trust = iota // nothing received yet
	// matched: its UDP source matches its Teredo address, as it would if
	// somebody forged both. Packets pass, but the entry gives way to others.
	matched
	// proven: a packet came after we had sent one. A forger who guesses that we
	// answered passes for proven too, so that even this only ranks entries.
	proven
)

// peer is an entry of the peer table (RFC 4380, 5.2).
type peer struct {
	key    [16]byte
	mapped netip.AddrPort // where its packets go
	source netip.AddrPort // where they come from: mapped, but see destination
	port   uint16         // of ours that both pass; 0 is the service port
	trust  trust
	teredo bool // else a native node; mapped is then its relay

	lastRx     time.Time // zero: never
	lastTx     time.Time // bubble or data; zero: never
	lastData   time.Time // data sent; zero: never
	tryAt      time.Time // next try of the attempt
	unanswered time.Time // first data since lastRx; zero: none

	waiting bool // the attempt waits for the test of our mapping
	trying  bool // an attempt is under way: due is in the schedule
	wanted  bool // by the host; else known only because of a received packet
	tries   int  // in this attempt
	asked   int  // straight, since it was heard (Count of Solicitations Transmitted, RFC 6081, 5.7.1)
	repeats int  // tries beyond the bubble limit, since it was heard
	due     time.Time
	index   int // in the schedule, -1 if not in it
	history history
	answers bucket
	told    time.Time // last PeerFailed
	hold    time.Time // data waits until then for a sign that the peer knows our mapping
	pinged  time.Time // last connectivity test that a received packet caused
	tests   tests     // of a native node, or of whether a peer receives
	proof   proof
	x       *crossing // nil until an indirect bubble was sent or received

	out, in queue // to the peer; from an unproven native source

	links [2]link
}

// Lists that a peer is in, and its links in them.
const (
	byAge  = iota // proven, wanted or strangers
	byHost        // strangers with the same IPv4 address
)

type link struct {
	newer, older *peer
	in           *peerList
}

func (p *peer) ip() netip.Addr { return netip.AddrFrom16(p.key) }

// usable reports whether data may go straight to the peer.
func (p *peer) usable(now time.Time) bool {
	return p.trust != unknown && now.Sub(p.lastRx) < peerValid
}

// known reports whether the peer proved not long ago that it is there.
func (p *peer) known(now time.Time) bool {
	return p.teredo && p.proof.given && now.Sub(p.lastRx) < peerForget
}

// allowed reports whether p may be sent bubbles that it does not answer, and if
// not, when. RFC 4380, 5.2.6 has it four in 300 s, and so it is for whoever did
// not prove that it is there: a victim, perhaps, or a NAT that no bubble
// crosses. A peer that did is neither. It is away, and the rule would keep it so
// for minutes after its return. While the host goes on sending, it is tried
// again at gaps that double up to knownMost, until its entry is forgotten.
func (p *peer) allowed(now time.Time) (bool, time.Time) {
	ok, at := p.history.allowed(now)
	if n := p.history.n; n == bubbleTries && p.known(now) {
		at = p.history.at[n-1].Add(min(knownGap<<min(p.repeats, 8), knownMost))
		ok = !now.Before(at)
	}
	return ok, at
}

// quiet reports whether p is likely to be there still where it was heard, and to
// say so if it is asked (RFC 6081, 3.6).
func (p *peer) quiet(now time.Time) bool {
	return p.teredo && p.trust == proven && p.x != nil && p.x.trailers && p.history.n == 0 &&
		now.Sub(p.lastRx) < quietPath && !p.doubtful(now)
}

// peerList is a list of peers in order of use.
type peerList struct {
	which          int
	newest, oldest *peer
	n              int
}

func (l *peerList) push(p *peer) {
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

func (l *peerList) remove(p *peer) {
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
	*k = link{}
	l.n--
}

// touch makes p the newest.
func (l *peerList) touch(p *peer) {
	if l.newest != p {
		l.remove(p)
		l.push(p)
	}
}

// peerTable is a bounded table of peers. Proven peers, peers that the host
// sends to, and strangers each displace only their like, the least recently
// used first, and strangers of one IPv4 address first of all. A proven peer
// gives way only once its entry has lapsed: no flood from outside removes a
// peer in use or an attempt under way.
type peerTable struct {
	entries                 map[[16]byte]*peer
	trusted, wanted, others peerList
	hosts                   map[netip.Addr]*peerList // strangers by IPv4 address
	maxTrusted, maxOthers   int                      // maxOthers bounds wanted as well
	due                     schedule
	past                    past
	queued                  int // bytes in all queues
}

func (t *peerTable) init(size int) {
	t.entries, t.hosts = map[[16]byte]*peer{}, map[netip.Addr]*peerList{}
	t.maxOthers = size / othersShare
	t.maxTrusted = size - 2*t.maxOthers
}

func (t *peerTable) get(key [16]byte) *peer { return t.entries[key] }

func (t *peerTable) next() time.Time {
	if len(t.due) == 0 {
		return time.Time{}
	}
	return t.due[0].due
}

// add makes an entry for a stranger, or for a peer that the host wants. It
// never fails; an older one may have to go.
func (t *peerTable) add(now time.Time, key [16]byte, mapped netip.AddrPort, teredo, wanted bool, c *Client) *peer {
	p := &peer{wanted: wanted, key: key, mapped: mapped, source: mapped, teredo: teredo, index: -1, proof: proof{given: !teredo}, answers: bucket{rate: peerAnswerRate, burst: peerAnswerBurst}}
	p.history, _ = t.past.get(key)
	t.entries[key] = p
	t.place(now, p, c)
	return p
}

// place puts p, which is in no list, into those of its kind.
func (t *peerTable) place(now time.Time, p *peer, c *Client) {
	l, most := &t.others, t.maxOthers
	switch {
	case p.trust == proven:
		l, most = &t.trusted, t.maxTrusted
	case p.wanted:
		l = &t.wanted
	default:
		t.placeByHost(now, p, c)
	}
	if l.n >= most {
		t.evict(now, l.oldest, c)
	}
	l.push(p)
}

func (t *peerTable) placeByHost(now time.Time, p *peer, c *Client) {
	host := p.mapped.Addr()
	if l := t.hosts[host]; l != nil && l.n >= othersPerHost {
		t.evict(now, l.oldest, c)
	}
	l := t.hosts[host]
	if l == nil {
		l = &peerList{which: byHost}
		t.hosts[host] = l
	}
	l.push(p)
}

// unlink takes p out of its lists.
func (t *peerTable) unlink(p *peer) {
	for i := range p.links {
		if l := p.links[i].in; l != nil {
			l.remove(p)
			if i == byHost && l.n == 0 {
				delete(t.hosts, p.mapped.Addr())
			}
		}
	}
}

// used marks p as used just now.
func (t *peerTable) used(p *peer) {
	for i := range p.links {
		if l := p.links[i].in; l != nil {
			l.touch(p)
		}
	}
}

// move changes where p's packets go to and come from; a stranger's lists depend
// on it.
func (t *peerTable) move(now time.Time, p *peer, mapped, source netip.AddrPort, c *Client) {
	if p.teredo && p.source.Addr() != source.Addr() {
		p.proof = proof{} // others may be there
	}
	p.source = source
	if p.mapped != mapped {
		t.unlink(p)
		p.mapped = mapped
		t.place(now, p, c)
	}
}

// want notes that the host sends to p.
func (t *peerTable) want(now time.Time, p *peer, c *Client) {
	if !p.wanted {
		t.unlink(p)
		p.wanted = true
		t.place(now, p, c)
	}
}

// prove notes that p answered, unless proven peers in use fill their share.
func (t *peerTable) prove(now time.Time, p *peer, c *Client) {
	full := t.trusted.n >= t.maxTrusted && t.trusted.oldest.usable(now)
	if p.trust == unknown {
		p.trust = matched
	}
	if p.trust != proven && !full {
		t.unlink(p)
		p.trust = proven
		t.place(now, p, c)
	}
}

// evict removes p to make room.
func (t *peerTable) evict(now time.Time, p *peer, c *Client) {
	c.drop(DropEvicted)
	t.remove(now, p, c, DropEvicted)
}

// remove removes p, counting what it had queued under why.
func (t *peerTable) remove(now time.Time, p *peer, c *Client, why Drop) {
	c.emptyQueues(p, why)
	t.due.remove(p)
	t.unlink(p)
	c.ports.keep(p, 0)
	if c.birthday.peer == p {
		c.birthday = birthday{}
	}
	t.past.note(now, p.key, p.history)
	delete(t.entries, p.key)
}

// sweep forgets peers that were silent for long.
func (t *peerTable) sweep(now time.Time, c *Client) {
	for _, l := range t.lists() {
		for p := l.oldest; p != nil && !p.trying && now.Sub(later(p.lastRx, p.lastTx)) > peerForget; p = l.oldest {
			t.remove(now, p, c, DropQueueOld)
		}
	}
}

func (t *peerTable) lists() [3]*peerList {
	return [3]*peerList{&t.trusted, &t.wanted, &t.others}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// flush removes every peer; what they failed to answer stays known.
func (t *peerTable) flush(now time.Time, c *Client) {
	for _, l := range t.lists() {
		for l.oldest != nil {
			t.remove(now, l.oldest, c, DropNotQualified)
		}
	}
}
