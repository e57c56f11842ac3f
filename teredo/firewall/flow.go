package firewall

import (
	"time"

	"shipworm/teredo/wire"
)

// flowKey names a flow as the host sees it. For the echo, local is the
// identifier and port is zero.
type flowKey struct {
	remote      [16]byte
	local, port uint16
	proto       byte
}

type flow struct {
	key        flowKey
	expires    time.Time
	prev, next int32 // by last use
	replied    bool  // TCP: the peer has answered
	closing    bool  // TCP: a FIN or RST was seen
}

// flowTable is a bounded table of flows that forgets the one used longest ago.
// slots[0] is the head of the list of use: its next is the newest.
type flowTable struct {
	max   int
	index map[flowKey]int32
	slots []flow
	free  []int32
}

func newFlowTable(max int) flowTable {
	return flowTable{max: max, index: map[flowKey]int32{}, slots: make([]flow, 1)}
}

// sent notes a packet of the host, which begins a flow if there is none.
func (t *flowTable) sent(now time.Time, k flowKey, upper []byte) {
	i, ok := t.live(now, k)
	if !ok {
		if k.proto == wire.ProtoTCP && upper[13]&tcpRST != 0 {
			return // a reset begins nothing
		}
		i = t.add(k)
	}
	t.touch(now, i, upper)
}

// received notes a packet of the peer and reports whether it has a flow.
func (t *flowTable) received(now time.Time, k flowKey, upper []byte) bool {
	i, ok := t.live(now, k)
	if !ok {
		return false
	}
	t.slots[i].replied = true
	t.touch(now, i, upper)
	return true
}

func (t *flowTable) known(now time.Time, k flowKey) bool {
	_, ok := t.live(now, k)
	return ok
}

// TCP flags (RFC 9293, 3.1).
const (
	tcpFIN = 0x01
	tcpSYN = 0x02
	tcpRST = 0x04
)

// touch sets a flow's life and makes it the newest.
func (t *flowTable) touch(now time.Time, i int32, upper []byte) {
	f := &t.slots[i]
	life := udpLife
	switch f.key.proto {
	case wire.ProtoTCP:
		switch flags := upper[13]; {
		case flags&(tcpFIN|tcpRST) != 0:
			f.closing = true
		case flags&tcpSYN != 0:
			f.closing = false // the ports are used again
		}
		life = tcpTransit
		if f.replied && !f.closing {
			life = tcpLife
		}
	case wire.ProtoICMPv6:
		life = echoLife
	}
	f.expires = now.Add(life)
	t.unlink(i)
	t.link(i)
}

// live returns the slot of a flow that has not expired.
func (t *flowTable) live(now time.Time, k flowKey) (int32, bool) {
	i, ok := t.index[k]
	if ok && !now.Before(t.slots[i].expires) {
		t.remove(i)
		return 0, false
	}
	return i, ok
}

func (t *flowTable) add(k flowKey) int32 {
	if len(t.index) >= t.max {
		t.remove(t.slots[0].prev)
	}
	var i int32
	if n := len(t.free); n > 0 {
		i, t.free = t.free[n-1], t.free[:n-1]
	} else {
		i = int32(len(t.slots))
		t.slots = append(t.slots, flow{})
	}
	t.slots[i] = flow{key: k}
	t.index[k] = i
	t.link(i)
	return i
}

func (t *flowTable) remove(i int32) {
	t.unlink(i)
	delete(t.index, t.slots[i].key)
	t.free = append(t.free, i)
}

func (t *flowTable) link(i int32) {
	f, head := &t.slots[i], &t.slots[0]
	f.prev, f.next = 0, head.next
	t.slots[head.next].prev = i
	t.slots[0].next = i
}

func (t *flowTable) unlink(i int32) {
	f := &t.slots[i]
	t.slots[f.prev].next, t.slots[f.next].prev = f.next, f.prev
}
