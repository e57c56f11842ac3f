package igd

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"shipworm/testnet/firewall"
)

// Where announcements go, unless a laboratory without multicast says otherwise.
var (
	// SearchGroup is SSDP's group (UPnP Device Architecture 1.1, 1.2.1).
	SearchGroup = netip.AddrPortFrom(netip.AddrFrom4([4]byte{239, 255, 255, 250}), SearchPort)
	// ControlGroup is where NAT-PMP and PCP announce (RFC 6886, 3.2.1; RFC 6887, 14.1).
	ControlGroup = netip.AddrPortFrom(netip.AddrFrom4([4]byte{224, 0, 0, 1}), 5350)
)

// Ports of the protocols.
const (
	ControlPort = 5351 // NAT-PMP and PCP (RFC 6887, 19.1)
	SearchPort  = 1900 // SSDP
)

// Bounds of a Router's memory. What goes beyond MaxMappings is refused; of the
// requests the oldest are forgotten.
const (
	MaxMappings = 1024
	MaxRequests = 4096
)

// Config is what a Router needs to know.
type Config struct {
	Profile Profile
	Gateway Gateway
	// Address is the router's own on the LAN: what its LOCATION names.
	Address netip.Addr
	// HTTP is the port of its web server; Serve sets it.
	HTTP uint16
	// SearchGroup and ControlGroup are where it announces itself; not set =
	// nowhere.
	SearchGroup, ControlGroup netip.AddrPort
	// Seed decides the ports that it picks itself.
	Seed uint64
	// Trace hears of every request, or is nil. It is called under the Router's
	// lock and may not call the Router.
	Trace func(Request)
}

// Validate reports every problem of the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.Profile.Name == "" {
		errs = append(errs, errors.New("igd: no profile"))
	}
	if c.Gateway == nil {
		errs = append(errs, errors.New("igd: no gateway"))
	}
	if !c.Address.Is4() {
		errs = append(errs, fmt.Errorf("igd: address %v: want the router's IPv4 address on the LAN", c.Address))
	}
	return errors.Join(errs...)
}

// A Router answers requests. It is safe for concurrent use. Time is handed in
// and must not go backwards.
type Router struct {
	cfg Config
	q   quirks

	mu       sync.Mutex
	rng      *rand.Rand
	began    time.Time // when the epoch was 0
	http     uint16
	addr     netip.Addr // external, when it was looked at last
	moved    bool       // it has changed since Advance
	holes    []hole
	mappings []*Mapping // in the order of creation, as UPnP's index has it
	requests []Request
	lost     uint64 // requests forgotten
	counts   counts
	searched time.Time // when the last search came
}

// counts are what some faults go by.
type counts struct {
	control, search int
}

// New returns a router that has just been switched on.
func New(now time.Time, c Config) (*Router, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	r := &Router{cfg: c, q: c.Profile.quirks, http: c.HTTP, began: now,
		rng: rand.New(rand.NewPCG(c.Seed, 0x696764))}
	r.addr = r.external()
	return r, nil
}

// Profile returns the profile in force.
func (r *Router) Profile() Profile { return r.cfg.Profile }

// Via says from which of a router's sockets a datagram leaves.
type Via uint8

// Sockets.
const (
	ViaControl  Via = iota // port 5351
	ViaSearch              // port 1900
	ViaStranger            // another port or address: a reply from where nobody asked
)

// A Datagram is one to be sent.
type Datagram struct {
	Via     Via
	To      netip.AddrPort
	Payload []byte
	After   time.Duration // after now
}

// Reboot has the router lose power: the mappings are gone, the epoch is 0, and
// what it returns announces it. A NAT's other mappings are not its business.
func (r *Router) Reboot(now time.Time) []Datagram {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.mappings {
		r.close(m)
	}
	r.mappings = nil
	for _, h := range r.holes {
		_ = r.wall(func(w *firewall.Firewall) error { return w.RemovePinhole(now, h.id) })
	}
	r.holes = nil
	r.began = now
	return r.announce(now)
}

// Start announces the router, as it does when it is switched on.
func (r *Router) Start(now time.Time) []Datagram {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.announce(now)
}

// setHTTP tells where the web server is.
func (r *Router) setHTTP(port uint16) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.http = port
}

// external is the address that mappings get.
func (r *Router) external() netip.Addr {
	if all := r.cfg.Gateway.External(); len(all) > 0 {
		return all[0]
	}
	return netip.IPv4Unspecified()
}

// epoch returns the seconds since the state was lost last (RFC 6886, 3.6; RFC
// 6887, 8.5).
func (r *Router) epoch(now time.Time) uint32 {
	e := int64(now.Sub(r.began) / time.Second)
	switch {
	case r.q.epochStuck:
		return 1
	case r.q.epochFast:
		return uint32(e * 10)
	case r.q.epochBack && r.counts.control%2 == 0:
		return uint32(e / 2)
	}
	return uint32(e)
}
