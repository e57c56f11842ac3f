package report

import (
	"fmt"
	"slices"
)

// Verdict answers a question that has two answers.
type Verdict uint8

// Verdicts. The zero value is that nobody asked; Unknown, that somebody did
// and the observations do not decide.
const (
	NotTested Verdict = iota
	Unknown
	No
	Yes
)

var verdicts = []string{"not tested", "unknown", "no", "yes"}

// Is returns Yes or No.
func Is(b bool) Verdict {
	if b {
		return Yes
	}
	return No
}

// Access is what lies between this host and the Internet, for UDP.
type Access uint8

// Accesses.
const (
	AccessUnknown Access = iota
	Open                 // public address, and anybody gets in
	Firewall             // public address, and only answers get in
	NAT                  // another address outside
	Blocked              // no UDP gets through
)

var accesses = []string{"unknown", "open", "firewall", "nat", "blocked"}

// Silence is why no server answered.
type Silence uint8

// Silences. The zero value is that one did.
const (
	Answered       Silence = iota
	SilenceUnknown         // one of the two below
	UDPBlocked             // servers are reached, but not over UDP
	ServerDead             // only this server keeps silent
)

var silences = []string{"", "unknown", "udp blocked", "server dead"}

// Behavior is how much of the remote endpoint a mapping or filter looks at.
type Behavior uint8

// Behaviours. The first four are those of RFC 4787; the last one, which looks
// at the remote port only, is real though the RFC does not name it.
const (
	BehaviorUnknown Behavior = iota
	EndpointIndependent
	AddressDependent
	AddressAndPortDependent
	PortDependent
	Dependent // on the destination; one server with two addresses could tell on what
)

var behaviors = []string{"unknown", "endpoint-independent", "address-dependent", "address-and-port-dependent", "port-dependent", "dependent"}

// Kind is what a server, or all together, can be asked.
type Kind uint8

// Kinds.
const (
	KindUnknown Kind = iota
	RFC5780          // mapping and filtering, by OTHER-ADDRESS and CHANGE-REQUEST
	RFC3489          // the same in the words of RFC 3489, by CHANGED-ADDRESS
	TwoServers       // mapping, by servers of different addresses; no filtering
	Single           // the mapped address, and nothing more
	Teredo           // what a Teredo client learns from its server
)

var kinds = []string{"unknown", "rfc5780", "rfc3489", "two-servers", "single", "teredo"}

// AllocationKind is how an external port is chosen (RFC 4787, 4.2.1).
type AllocationKind uint8

// Allocations.
const (
	AllocationUnknown AllocationKind = iota
	Preserving                       // the internal port
	Sequential                       // a fixed step from the last one
	Random                           // no rule seen
)

var allocations = []string{"unknown", "preserving", "sequential", "random"}

// Pooling is how an external address is chosen.
type Pooling uint8

// Poolings (RFC 4787, 4.1).
const (
	PoolingUnknown Pooling = iota
	Paired                 // one for each internal host
	Arbitrary              // one for each mapping
)

var poolings = []string{"unknown", "paired", "arbitrary"}

// Collision is what happens to the second of two mappings that want one
// external port.
type Collision uint8

// Collisions.
const (
	CollisionUnknown Collision = iota
	Moved                      // it gets another port
	Overloaded                 // it gets the same one, which RFC 4787, REQ-3 forbids
	Refused                    // it gets none
)

var collisions = []string{"unknown", "moved", "overloaded", "refused"}

// Source is the source endpoint of a hairpinned packet.
type Source uint8

// Sources (RFC 4787, 6, REQ-9).
const (
	SourceUnknown  Source = iota
	InternalSource        // the sender's own
	ExternalSource        // the sender's mapped one, as REQ-9 wants
)

var sources = []string{"unknown", "internal", "external"}

func word[T ~uint8](words []string, v T) string {
	if int(v) >= len(words) {
		return fmt.Sprintf("%d?", v)
	}
	return words[v]
}

func parse[T ~uint8](words []string, text []byte, v *T) error {
	i := slices.Index(words, string(text))
	if i < 0 {
		return fmt.Errorf("report: %q is none of %q", text, words)
	}
	*v = T(i)
	return nil
}

func (v Verdict) String() string        { return word(verdicts, v) }
func (v Access) String() string         { return word(accesses, v) }
func (v Silence) String() string        { return word(silences, v) }
func (v Behavior) String() string       { return word(behaviors, v) }
func (v Kind) String() string           { return word(kinds, v) }
func (v AllocationKind) String() string { return word(allocations, v) }
func (v Pooling) String() string        { return word(poolings, v) }
func (v Collision) String() string      { return word(collisions, v) }
func (v Source) String() string         { return word(sources, v) }

func (v Verdict) MarshalText() ([]byte, error)        { return []byte(v.String()), nil }
func (v Access) MarshalText() ([]byte, error)         { return []byte(v.String()), nil }
func (v Silence) MarshalText() ([]byte, error)        { return []byte(v.String()), nil }
func (v Behavior) MarshalText() ([]byte, error)       { return []byte(v.String()), nil }
func (v Kind) MarshalText() ([]byte, error)           { return []byte(v.String()), nil }
func (v AllocationKind) MarshalText() ([]byte, error) { return []byte(v.String()), nil }
func (v Pooling) MarshalText() ([]byte, error)        { return []byte(v.String()), nil }
func (v Collision) MarshalText() ([]byte, error)      { return []byte(v.String()), nil }
func (v Source) MarshalText() ([]byte, error)         { return []byte(v.String()), nil }

func (v *Verdict) UnmarshalText(b []byte) error        { return parse(verdicts, b, v) }
func (v *Access) UnmarshalText(b []byte) error         { return parse(accesses, b, v) }
func (v *Silence) UnmarshalText(b []byte) error        { return parse(silences, b, v) }
func (v *Behavior) UnmarshalText(b []byte) error       { return parse(behaviors, b, v) }
func (v *Kind) UnmarshalText(b []byte) error           { return parse(kinds, b, v) }
func (v *AllocationKind) UnmarshalText(b []byte) error { return parse(allocations, b, v) }
func (v *Pooling) UnmarshalText(b []byte) error        { return parse(poolings, b, v) }
func (v *Collision) UnmarshalText(b []byte) error      { return parse(collisions, b, v) }
func (v *Source) UnmarshalText(b []byte) error         { return parse(sources, b, v) }
