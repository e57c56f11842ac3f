package natprobe

import (
	"net/netip"
	"slices"
	"time"

	"shipworm/natprobe/message"
)

// An ask is one question to a server, put as often as it takes. Each copy is a
// transaction of its own, so that an answer tells which copy it is for, hence
// the round trip and what got lost.
type ask struct {
	sock       *socket
	to         netip.AddrPort
	changeIP   bool
	changePort bool
	port       uint16  // RESPONSE-PORT; 0 = none
	padding    int     // PADDING; 0 = none
	back       *socket // where the answer is to arrive; nil = sock

	limit int             // copies in all
	delay []time.Duration // after each copy; beyond the last, share
	share float64         // of the round trip
	needs bool            // an answer: the second copy waits until the first is late
	next  time.Time       // when the next copy is due, or the wait for answers ends
	sent  []transaction
	held  []heldAnswer // came before it was known who may answer

	over  bool             // answered, refused or given up
	reply *message.Message // the first right answer, or nil
	took  time.Duration    // until the reply, from its copy
	code  int              // of an error response, or 0
	hop   netip.Addr       // of the router that its packet did not get beyond
	late  bool             // a right answer came after it was given up
	lie   bool             // the server answered, but not from where it was asked to
	then  func()           // called once, when over
}

// A transaction is one copy of an ask.
type transaction struct {
	id       message.ID
	at       time.Time
	answered bool
}

type heldAnswer struct {
	from netip.AddrPort
	msg  *message.Message
}

// maxHeld bounds the answers of an ask that wait for the first plain one.
const maxHeld = 4

// mapped is the endpoint that the answer names, or the zero one.
func (a *ask) mapped() netip.AddrPort {
	if a == nil || a.reply == nil {
		return netip.AddrPort{}
	}
	return unmap(a.reply.Reflexive())
}

// plain reports whether only a loss can be the cause of silence.
func (a *ask) plain() bool {
	return !a.changeIP && !a.changePort && a.port == 0 && a.padding == 0 && a.sock.options == (options{})
}

// find returns the transaction with this ID, or nil.
func (a *ask) find(id message.ID) *transaction {
	i := slices.IndexFunc(a.sent, func(t transaction) bool { return t.id == id })
	if i < 0 {
		return nil
	}
	return &a.sent[i]
}

// pause is how long to wait after the copy that was sent last.
func (a *ask) pause(c *clock) time.Duration {
	switch n := len(a.sent); {
	case n <= len(a.delay):
		return a.delay[n-1]
	case n == a.limit && c.known(), n == 1 && a.needs:
		return c.wait()
	}
	return c.gap(a.share)
}

func unmap(ap netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()) }
