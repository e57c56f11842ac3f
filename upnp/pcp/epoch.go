package pcp

import "time"

// Epoch watches a server's clock, to see that the server lost its state
// (RFC 6887, 8.5). The zero value has seen nothing.
type Epoch struct {
	client time.Time
	server uint32
	seen   bool
}

// Observe takes the epoch field of a response that arrived now. It reports
// whether the server has lost its mappings since the response before.
func (e *Epoch) Observe(now time.Time, server uint32) (reset bool) {
	if e.seen {
		c, s := int64(now.Sub(e.client)/time.Second), int64(server)-int64(e.server)
		reset = s < -1 || c+2 < s-s/16 || s+2 < c-c/16
	}
	e.client, e.server, e.seen = now, server, true
	return reset
}
