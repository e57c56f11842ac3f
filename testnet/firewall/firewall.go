// Package firewall is the stateful IPv6 packet filter of a home router: what
// the inside began may be answered, the rest of what comes from outside is
// refused (RFC 6092, "simple security"), but for pinholes.
//
// A Firewall is a pure machine: it is handed packets with the time and says
// whether they pass and why. It changes no packet, holds no goroutine and no
// socket. It is the router's business to check addresses against its prefix
// (REC-5, REC-6), to count hops and to build the errors that it sends.
//
// Left out: DCCP, SCTP and UDP-Lite by port (they are "other protocols"), the
// inspection of TCP sequence numbers (REC-32 permits that), mobility and HIP.
//
//	f, _ := firewall.New(firewall.Config{})
//	if f.Outbound(now, request).Pass() { ... }
//	if f.Inbound(now, answer).Pass() { ... }
//	id, _ := f.AddPinhole(now, firewall.Pinhole{Proto: 6, Internal: server}, time.Hour)
package firewall

import (
	"errors"
	"fmt"
	"time"

	"shipworm/testnet/nat"
)

// Defaults of Config.
const (
	DefaultUDP         = 5 * time.Minute             // REC-14: "five minutes or more"
	DefaultWellKnown   = 2 * time.Minute             // REC-15 permits less
	DefaultEstablished = 2*time.Hour + 4*time.Minute // REC-35
	DefaultTransitory  = 4 * time.Minute             // REC-35
	DefaultOther       = 2 * time.Minute             // REC-12
	DefaultRefusal     = 6 * time.Second             // REC-34
	DefaultFlows       = 1 << 14
	DefaultPinholes    = 256

	fragmentLife = 60 * time.Second // RFC 8200, 4.5
	maxRefused   = 256
)

// Config of a Firewall. The zero value follows the recommendations of RFC 6092.
type Config struct {
	// Filtering says which outsiders may send to an inside endpoint that has
	// sent something, over UDP and TCP: all (REC-17, REC-33 for transparency),
	// those at an address that it sent to, or, as Linux does, only the endpoint
	// that it sent to. Echo and other protocols are answered by whom they were
	// sent to, always.
	Filtering nat.Behavior
	// Idle times after which a flow is forgotten; 0 = the default.
	UDP         time.Duration // at least 2 min by REC-14
	WellKnown   time.Duration // of UDP with a port below 1024 (REC-15)
	Established time.Duration // of TCP (REC-35)
	Transitory  time.Duration // of TCP that opens or closes (REC-35)
	Other       time.Duration // of echo and other protocols (REC-12)
	// Refusal is how long an unsolicited SYN waits for the inside to send one
	// too before it is reported; 0 = DefaultRefusal, below 0 = it is not.
	Refusal time.Duration
	// Bounds of the tables; 0 = the default.
	MaxFlows, MaxPinholes int
}

// Named returns the configuration that scenario files and commands call by a
// name: "default-deny" is what home routers do that follow RFC 6092 as Linux
// does, where who may answer is the endpoint that the inside sent to; "none" is
// nil, no firewall at all.
func Named(name string) (c *Config, ok bool) {
	switch name {
	case "default-deny":
		return &Config{Filtering: nat.AddressAndPortDependent}, true
	case "none":
		return nil, true
	}
	return nil, false
}

// Validate returns every problem of the configuration, joined. Times shorter
// than RFC 6092 permits are none: such routers exist.
func (c Config) Validate() error {
	var errs []error
	if c.Filtering > nat.AddressAndPortDependent {
		errs = append(errs, fmt.Errorf("unknown filtering %d", c.Filtering))
	}
	if min(c.UDP, c.WellKnown, c.Established, c.Transitory, c.Other) < 0 {
		errs = append(errs, errors.New("a negative idle time"))
	}
	if c.MaxFlows < 0 || c.MaxPinholes < 0 {
		errs = append(errs, errors.New("a negative bound"))
	}
	if len(errs) > 0 {
		return fmt.Errorf("firewall: %w", errors.Join(errs...))
	}
	return nil
}

func (c Config) withDefaults() Config {
	for p, d := range map[*time.Duration]time.Duration{
		&c.UDP: DefaultUDP, &c.WellKnown: DefaultWellKnown, &c.Established: DefaultEstablished,
		&c.Transitory: DefaultTransitory, &c.Other: DefaultOther, &c.Refusal: DefaultRefusal,
	} {
		if *p == 0 {
			*p = d
		}
	}
	if c.MaxFlows == 0 {
		c.MaxFlows = DefaultFlows
	}
	if c.MaxPinholes == 0 {
		c.MaxPinholes = DefaultPinholes
	}
	return c
}

// Stats counts packets.
type Stats struct {
	Passed, Refused uint64
	Full            uint64 // of Refused: no room for a flow
}

// A Firewall is not safe for concurrent use. Times must not go backwards.
type Firewall struct {
	cfg      Config
	flows    map[flow]*state
	open     map[flow]int // by how many flows an inside endpoint is open to a scope
	idle     timers
	pinholes []*Open // in the order of their making
	lastID   uint16
	refused  []refusal
	stats    Stats
}

// New returns a Firewall that has seen nothing.
func New(c Config) (*Firewall, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	f := &Firewall{cfg: c.withDefaults()}
	f.Reset()
	return f, nil
}

// Config returns the configuration in force, defaults filled in.
func (f *Firewall) Config() Config { return f.cfg }

// Stats returns the counters.
func (f *Firewall) Stats() Stats { return f.stats }

// Flows returns how many flows are remembered at now.
func (f *Firewall) Flows(now time.Time) int {
	f.expire(now)
	return len(f.flows)
}

// Reset forgets flows and pinholes, as a reboot does.
func (f *Firewall) Reset() {
	f.flows, f.open = make(map[flow]*state), make(map[flow]int)
	f.idle, f.pinholes, f.refused = nil, nil, nil
}
