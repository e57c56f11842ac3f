package nat

// class is one idle time; each has a queue of its own, so that the oldest
// timer of a class is always at its head and nothing is ever searched.
type class uint8

const (
	udpFresh class = iota
	udpAnswered
	tcpOpening
	tcpEstablished
	tcpClosing
	tcpReset
	icmpEcho
	otherProtocol
	quarantined
	classes // and behind them one for each of Config.PortLifetimes
)

// A timerID names the timer of a mapping (even) or of a peer (odd).
type timerID uint32

func mappingTimer(i uint32) timerID { return timerID(i << 1) }
func peerTimer(i uint32) timerID    { return timerID(i<<1 | 1) }

type timer struct {
	prev, next timerID
	due        int64
	queued     bool
	class      class
}

type queue struct {
	life       int64
	head, tail timerID
}

func (n *NAT) timerOf(id timerID) *timer {
	if id&1 == 0 {
		return &n.maps.at(uint32(id >> 1)).timer
	}
	return &n.peers.at(uint32(id >> 1)).timer
}

// start puts a timer at the end of the queue of its class, running or not.
func (n *NAT) start(id timerID, t *timer, c class, now int64) {
	q := &n.timers[c]
	if t.queued && t.class == c && q.tail == id {
		t.due = now + q.life
		return
	}
	n.stop(t)
	t.queued, t.class, t.due = true, c, now+q.life
	t.prev, t.next = q.tail, 0
	if q.tail != 0 {
		n.timerOf(q.tail).next = id
	} else {
		q.head = id
	}
	q.tail = id
}

func (n *NAT) stop(t *timer) {
	if !t.queued {
		return
	}
	q := &n.timers[t.class]
	if t.prev != 0 {
		n.timerOf(t.prev).next = t.next
	} else {
		q.head = t.next
	}
	if t.next != 0 {
		n.timerOf(t.next).prev = t.prev
	} else {
		q.tail = t.prev
	}
	t.prev, t.next, t.queued = 0, 0, false
}

// expire removes what is due; a timer is due once its whole idle time passed.
func (n *NAT) expire(now int64) {
	for c := range n.timers {
		q := &n.timers[c]
		for q.head != 0 {
			id := q.head
			if n.timerOf(id).due > now {
				break
			}
			if id&1 == 1 {
				n.removePeer(uint32(id >> 1))
				continue
			}
			i := uint32(id >> 1)
			if n.maps.at(i).kind == live {
				n.stats.Expired++
			}
			n.endMapping(i, now)
		}
	}
}
