package igd

import (
	"fmt"
	"net/netip"
	"time"
)

// Protocols, as Request and Mapping name them.
const (
	NATPMP = "nat-pmp"
	PCP    = "pcp"
	SSDP   = "ssdp"
	HTTP   = "http"
	SOAP   = "soap"
)

// A Request is what a client asked for, and what became of it.
type Request struct {
	Time     time.Time
	From     netip.AddrPort
	Protocol string // NATPMP, PCP, SSDP, HTTP or SOAP
	// Action is the operation in the protocol's words: MAP, AddPortMapping, a
	// method and path, or a search target.
	Action string
	// Of requests that are about a mapping, as far as they say.
	Transport byte // 6 TCP, 17 UDP
	Internal  netip.AddrPort
	External  uint16
	Lifetime  time.Duration
	// Result is the protocol's code: 0 for success, an HTTP status for HTTP.
	Result int
}

// String returns the request in one line.
func (q Request) String() string {
	s := fmt.Sprintf("%v %s %s", q.From, q.Protocol, q.Action)
	if q.Transport != 0 {
		s += fmt.Sprintf(" %s port %d", protocolName(q.Transport), q.External)
		if q.Internal.IsValid() {
			s += fmt.Sprintf(" to %v for %v", q.Internal, q.Lifetime)
		}
	}
	return fmt.Sprintf("%s: %d", s, q.Result)
}

// Requests returns the requests since New, the latest MaxRequests of them.
func (r *Router) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Request(nil), r.requests...)
}

// Forgotten returns how many requests are no longer in the log.
func (r *Router) Forgotten() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost
}

func (r *Router) record(q Request) {
	if r.cfg.Trace != nil {
		r.cfg.Trace(q)
	}
	if len(r.requests) == MaxRequests {
		const some = MaxRequests / 4
		r.requests = append(r.requests[:0], r.requests[some:]...)
		r.lost += some
	}
	r.requests = append(r.requests, q)
}

const (
	protoTCP = 6
	protoUDP = 17
)

func protocolName(p byte) string {
	switch p {
	case protoTCP:
		return "TCP"
	case protoUDP:
		return "UDP"
	}
	return fmt.Sprint(p)
}
