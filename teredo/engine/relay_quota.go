package engine

import (
	"net/netip"
	"time"
)

// Limits on a relay's bubbles. Whoever sends it a packet chooses both the
// client and the server that the bubble goes to.
const (
	relayNewRate, relayNewBurst     = 20, 50  // a second, through servers not known
	relayKnownRate, relayKnownBurst = 80, 200 // a second, through the others
	strangerRate, strangerBurst     = 5, 10   // of them, attempts because of a packet from the client

	// The bubbles of a window name at most this many clients and hosts.
	relayHistories = 1 << 16

	serverKnown = 24 * time.Hour // since a client last answered through it
	maxServers  = 4096
)

// relayQuota says which bubbles may be sent.
type relayQuota struct {
	histories past // by client, server and host; those last two as IPv4-mapped addresses
	servers   map[netip.Addr]time.Time
	fixed     map[netip.Addr]bool
	new, old  bucket
	strangers bucket
}

func (q *relayQuota) init(servers []netip.Addr) {
	q.histories.size = relayHistories
	q.servers, q.fixed = map[netip.Addr]time.Time{}, map[netip.Addr]bool{}
	for _, s := range servers {
		q.fixed[s.Unmap()] = true
	}
	q.new = bucket{rate: relayNewRate, burst: relayNewBurst}
	q.old = bucket{rate: relayKnownRate, burst: relayKnownBurst}
	q.strangers = bucket{rate: strangerRate, burst: strangerBurst}
}

// known reports whether ip is known to be a Teredo server.
func (q *relayQuota) known(now time.Time, ip netip.Addr) bool {
	at, ok := q.servers[ip]
	return q.fixed[ip] || (ok && now.Sub(at) < serverKnown)
}

// learn notes that a client answered a bubble that went through the server ip.
func (q *relayQuota) learn(now time.Time, ip netip.Addr) {
	if _, ok := q.servers[ip]; !ok && len(q.servers) >= maxServers {
		for other := range q.servers { // any: all of them did answer
			delete(q.servers, other)
			break
		}
	}
	q.servers[ip] = now
	q.forgive(now, ip.As16())
}

// retryAt returns when the next bubble may go to key; zero means now.
func (q *relayQuota) retryAt(now time.Time, key [16]byte) time.Time {
	h, _ := q.histories.get(key)
	return h.retryAt(now)
}

// spend notes a bubble to key, if one may go there.
func (q *relayQuota) spend(now time.Time, key [16]byte) bool {
	h, _ := q.histories.get(key)
	if ok, _ := h.allowed(now); !ok {
		return false
	}
	h.add(now)
	q.histories.note(now, key, h)
	return true
}

// spendAny is spend without the gap between two bubbles: to a server or host,
// which the bubbles of several clients go to.
func (q *relayQuota) spendAny(now time.Time, key [16]byte) bool {
	h, _ := q.histories.get(key)
	h.expire(now)
	if h.n == bubbleTries {
		return false
	}
	h.add(now)
	q.histories.note(now, key, h)
	return true
}

// forgive forgets the bubbles to key: one was answered.
func (q *relayQuota) forgive(now time.Time, key [16]byte) {
	q.histories.note(now, key, history{})
}
