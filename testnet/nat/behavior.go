package nat

import (
	"fmt"
	"strings"
)

// Behavior is how much of the remote endpoint a rule looks at (RFC 4787, 4.1
// and 5).
type Behavior uint8

// Behaviours, from the most to the least open.
const (
	EndpointIndependent Behavior = iota
	AddressDependent
	AddressAndPortDependent
)

// String returns the RFC's name in lower case.
func (b Behavior) String() string { return word("behavior", behaviorWords(), uint8(b)) }

// MarshalText writes the RFC's name.
func (b Behavior) MarshalText() ([]byte, error) {
	return marshal("behavior", behaviorWords(), uint8(b))
}

// UnmarshalText reads what MarshalText writes.
func (b *Behavior) UnmarshalText(text []byte) error {
	return unmarshal("behavior", behaviorWords(), (*uint8)(b), text)
}

// An Override is a Behavior for one protocol, or none of its own.
type Override uint8

// SameAsUDP is the zero Override: the protocol has the behaviour of UDP.
const SameAsUDP Override = 0

// Only returns the override with this behaviour.
func Only(b Behavior) Override { return Override(b) + 1 }

// Or returns the behaviour of the override, or b where it has none.
func (o Override) Or(b Behavior) Behavior {
	if o == SameAsUDP {
		return b
	}
	return Behavior(o - 1)
}

// String returns the behaviour, or "same as UDP".
func (o Override) String() string { return word("override", overrideWords(), uint8(o)) }

// MarshalText writes the behaviour, or "same as UDP".
func (o Override) MarshalText() ([]byte, error) {
	return marshal("override", overrideWords(), uint8(o))
}

// UnmarshalText reads what MarshalText writes.
func (o *Override) UnmarshalText(text []byte) error {
	return unmarshal("override", overrideWords(), (*uint8)(o), text)
}

// Allocation is how an external port is chosen (RFC 4787, 4.2.1).
type Allocation uint8

// Allocations.
const (
	Preserving  Allocation = iota // the internal port; on collision another one at random
	Sequential                    // the next port that is free, Config.Step further
	Random                        // a random free port
	Overloading                   // the internal port even on collision, where the newest mapping gets what comes in
)

// String returns the allocation as a word.
func (a Allocation) String() string { return word("allocation", allocationWords(), uint8(a)) }

// MarshalText writes the allocation as a word.
func (a Allocation) MarshalText() ([]byte, error) {
	return marshal("allocation", allocationWords(), uint8(a))
}

// UnmarshalText reads what MarshalText writes.
func (a *Allocation) UnmarshalText(text []byte) error {
	return unmarshal("allocation", allocationWords(), (*uint8)(a), text)
}

// Hairpin is what happens to a packet from the inside to an external endpoint
// of this NAT (RFC 4787, 6).
type Hairpin uint8

// Hairpins. RFC 4787 REQ-9 wants HairpinExternalSource.
const (
	HairpinNone           Hairpin = iota // dropped
	HairpinInternalSource                // delivered with the sender's internal endpoint as source
	HairpinExternalSource                // delivered with the sender's external endpoint as source
)

// String returns the hairpin behaviour in words.
func (h Hairpin) String() string { return word("hairpin", hairpinWords(), uint8(h)) }

// MarshalText writes the hairpin behaviour in words.
func (h Hairpin) MarshalText() ([]byte, error) { return marshal("hairpin", hairpinWords(), uint8(h)) }

// UnmarshalText reads what MarshalText writes.
func (h *Hairpin) UnmarshalText(text []byte) error {
	return unmarshal("hairpin", hairpinWords(), (*uint8)(h), text)
}

// Refresh is which packets prolong a UDP mapping (RFC 4787, 4.3).
type Refresh uint8

// Refresh directions. REQ-6 demands outbound and allows both.
const (
	RefreshOutbound Refresh = iota
	RefreshBoth
	RefreshInbound // against REQ-6: who only sends is forgotten
)

// String returns the directions as a word.
func (r Refresh) String() string { return word("refresh", refreshWords(), uint8(r)) }

// MarshalText writes the directions as a word.
func (r Refresh) MarshalText() ([]byte, error) { return marshal("refresh", refreshWords(), uint8(r)) }

// UnmarshalText reads what MarshalText writes.
func (r *Refresh) UnmarshalText(text []byte) error {
	return unmarshal("refresh", refreshWords(), (*uint8)(r), text)
}

// The words of each kind, by value.

func behaviorWords() []string {
	return []string{"endpoint-independent", "address-dependent", "address-and-port-dependent"}
}

func overrideWords() []string { return append([]string{"same as UDP"}, behaviorWords()...) }

func allocationWords() []string { return []string{"preserving", "sequential", "random", "overloading"} }

func hairpinWords() []string { return []string{"none", "internal source", "external source"} }

func refreshWords() []string { return []string{"outbound", "both", "inbound"} }

func word(kind string, words []string, v uint8) string {
	if int(v) < len(words) {
		return words[v]
	}
	return fmt.Sprintf("%s %d", kind, v)
}

func marshal(kind string, words []string, v uint8) ([]byte, error) {
	if int(v) < len(words) {
		return []byte(words[v]), nil
	}
	return nil, fmt.Errorf("nat: no %s %d", kind, v)
}

func unmarshal(kind string, words []string, v *uint8, text []byte) error {
	for i, w := range words {
		if w == string(text) {
			*v = uint8(i)
			return nil
		}
	}
	return fmt.Errorf("nat: no %s %q: want %s", kind, text, strings.Join(words, ", "))
}
