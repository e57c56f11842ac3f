package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ErrIncomplete is that a report knows too little of a NAT to rebuild it.
var ErrIncomplete = errors.New("report: not enough is known for a profile")

// profile is the part of the laboratory's profile files, schema 1, that a
// probe can fill.
type profile struct {
	Schema           int    `json:"schema"`
	Mapping          string `json:"mapping"`
	Filtering        string `json:"filtering"`
	NoTranslation    bool   `json:"no_translation,omitempty"`
	Block            int    `json:"block_protocol,omitempty"`
	Allocation       string `json:"allocation"`
	Step             int    `json:"step,omitempty"`
	Parity           bool   `json:"parity,omitempty"`
	Contiguity       bool   `json:"contiguity,omitempty"`
	Overlap          bool   `json:"overlap,omitempty"`
	ReuseSource      bool   `json:"reuse_source,omitempty"`
	EarlyInbound     bool   `json:"early_inbound,omitempty"`
	Reject           bool   `json:"reject,omitempty"`
	ArbitraryPooling bool   `json:"arbitrary_pooling,omitempty"`
	Refresh          string `json:"refresh"`
	Hairpin          string `json:"hairpin"`
	Fragments        string `json:"fragments"`
	ALG              bool   `json:"alg,omitempty"`
	Lifetime         string `json:"lifetime,omitempty"`
	LifetimeAnswered string `json:"lifetime_answered,omitempty"`
	AnsweredAge      string `json:"answered_age,omitempty"`
}

const udp = 17

// Profile returns a profile file from which "shipworm testnet" rebuilds this
// NAT: what was measured, and the laboratory's defaults for the rest. The
// error wraps ErrIncomplete where mapping or filtering are unknown or of a
// kind that the laboratory does not have.
func (r *Report) Profile() ([]byte, error) {
	const eim, apdm = "endpoint-independent", "address-and-port-dependent"
	p := profile{
		Schema: 1, Mapping: r.Mapping.String(), Filtering: r.Filtering.String(),
		Allocation: "preserving", Refresh: "outbound", Hairpin: "none", Fragments: "any order",
	}
	switch r.Access {
	case Blocked:
		p.Mapping, p.Filtering, p.Block, p.NoTranslation = eim, eim, udp, true
		return p.write()
	case Open, Firewall:
		p.NoTranslation, p.Mapping = true, eim
	}
	for what, b := range map[string]Behavior{"mapping": r.Mapping, "filtering": r.Filtering} {
		switch {
		case p.NoTranslation && what == "mapping":
		case b == EndpointIndependent, b == AddressDependent, b == AddressAndPortDependent:
		default:
			return nil, fmt.Errorf("%w: %s is %v", ErrIncomplete, what, b)
		}
	}
	p.Lifetime, p.LifetimeAnswered, p.AnsweredAge = r.Lifetimes.profile()
	if r.Lifetimes.InboundRefresh == Yes {
		p.Refresh = "both"
	}
	if r.Fragments.Out == No || r.Fragments.In == No {
		p.Fragments = "dropped"
	}
	if p.NoTranslation {
		return p.write()
	}
	switch kept := r.PortPreserving == Yes || r.Allocation.Kind == Preserving; {
	case r.Collision == Overloaded:
		p.Allocation = "overloading"
	case kept:
	case r.Allocation.Kind == Sequential && r.Allocation.Delta > 0:
		p.Allocation, p.Step = "sequential", r.Allocation.Delta
	default:
		p.Allocation = "random"
	}
	if p.Allocation != "preserving" {
		p.Parity = r.Parity == Yes && p.Step%2 == 0
		p.Contiguity = r.Contiguity == Yes && p.Mapping != apdm
	}
	early := r.EarlyInbound == Yes
	if (early || r.Collision == Moved && r.Deterministic == No) && p.Mapping == eim && p.Filtering == apdm {
		// Linux: each destination has a mapping of its own, and all share one
		// port until a stray packet, or another host, takes it. So nothing but the
		// destination gets in; where a rule lets others in, that rule matters more.
		p.Mapping, p.Overlap, p.ReuseSource, p.EarlyInbound, p.Reject = apdm, true, true, early, early
		p.Contiguity = false
	}
	p.ArbitraryPooling = r.Pooling == Arbitrary
	if r.Hairpin.Verdict == Yes {
		p.Hairpin = "external source"
		if r.Hairpin.Source == InternalSource {
			p.Hairpin = "internal source"
		}
	}
	p.ALG = r.ALG == Yes
	return p.write()
}

func (p profile) write() ([]byte, error) {
	b, err := json.MarshalIndent(p, "", "  ")
	return append(b, '\n'), err
}

// profile returns times that lie between what was seen alive and what was seen
// dead.
func (l Lifetimes) profile() (lifetime, answered, age string) {
	single, stream := l.Single.guess(), l.Stream.guess()
	if single > 0 {
		lifetime = single.String()
	}
	if stream > 0 && stream != single {
		answered = stream.String()
		if single > 0 {
			// The exchange that was seen alive is an answered one too, so age
			// makes the difference, as it does on Linux.
			age = (2 * time.Second).String()
		}
	}
	return lifetime, answered, age
}

// guess returns a time within the bound; 0 = the default of five minutes.
func (b Bound) guess() time.Duration {
	alive, dead := time.Duration(b.Alive), time.Duration(b.Dead)
	switch {
	case dead > 0:
		return alive + (dead-alive)/2
	case alive >= 5*time.Minute:
		return 2 * alive
	}
	return 0
}
