package natpmp

import "time"

// Epoch watches a gateway's clock, to see that the gateway lost its state
// (RFC 6886, 3.6). The zero value has seen nothing.
type Epoch struct {
	client  time.Time
	gateway uint32
	seen    bool
}

// Observe takes the epoch field of a response that arrived now. It reports
// whether the gateway has lost its mappings since the response before: its
// clock shows over two seconds less than it must at 7/8 of our pace.
func (e *Epoch) Observe(now time.Time, gateway uint32) (reset bool) {
	if e.seen {
		passed := int64(now.Sub(e.client) / time.Second)
		reset = int64(gateway) < int64(e.gateway)+passed*7/8-2
	}
	e.client, e.gateway, e.seen = now, gateway, true
	return reset
}
