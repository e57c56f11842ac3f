package nat

import (
	"net/netip"
	"time"
)

// Unsolicited is the answer to a TCP segment from outside that belongs to no
// connection that the filter permits (RFC 5382, 4.3).
type Unsolicited uint8

// Answers to unsolicited segments.
const (
	UnsolicitedAsUDP   Unsolicited = iota // as for UDP: silence, or with Reject an ICMP error at once
	UnsolicitedDelayed                    // a SYN gets its ICMP error after SYNDelay, unless a SYN came out meanwhile (REQ-4)
	UnsolicitedReset                      // a TCP reset at once
)

// SYNDelay is how long an unsolicited SYN waits for its answer, so that a
// simultaneous open may still succeed (RFC 5382, 4.3, REQ-4).
const SYNDelay = 6 * time.Second

// String returns the answer in words.
func (u Unsolicited) String() string { return word("unsolicited", unsolicitedWords(), uint8(u)) }

// MarshalText writes the answer in words.
func (u Unsolicited) MarshalText() ([]byte, error) {
	return marshal("unsolicited", unsolicitedWords(), uint8(u))
}

// UnmarshalText reads what MarshalText writes.
func (u *Unsolicited) UnmarshalText(text []byte) error {
	return unmarshal("unsolicited", unsolicitedWords(), (*uint8)(u), text)
}

func unsolicitedWords() []string { return []string{"as UDP", "ICMP after 6 s", "reset"} }

// Refusal is what the inside hears when no mapping can be made for its packet.
type Refusal uint8

// Refusals.
const (
	RefuseSilently    Refusal = iota
	RefuseProhibited          // ICMP unreachable, administratively prohibited (RFC 5508, 6, REQ-8)
	RefuseUnreachable         // ICMP host unreachable, which TCP survives (RFC 6888, 3, REQ-11b)
)

// String returns the refusal in words.
func (r Refusal) String() string { return word("refusal", refusalWords(), uint8(r)) }

// MarshalText writes the refusal in words.
func (r Refusal) MarshalText() ([]byte, error) { return marshal("refusal", refusalWords(), uint8(r)) }

// UnmarshalText reads what MarshalText writes.
func (r *Refusal) UnmarshalText(text []byte) error {
	return unmarshal("refusal", refusalWords(), (*uint8)(r), text)
}

func refusalWords() []string {
	return []string{"silent", "administratively prohibited", "host unreachable"}
}

// Fragments is how pieces of a datagram are treated (RFC 4787, 11).
type Fragments uint8

// Treatments of fragments. RFC 4787 REQ-14 wants FragmentsAnyOrder.
const (
	FragmentsDropped  Fragments = iota // no piece gets through
	FragmentsInOrder                   // later pieces follow the first, which has the ports
	FragmentsAnyOrder                  // pieces that come too early are held until the first comes
)

// String returns the treatment in words.
func (f Fragments) String() string { return word("fragments", fragmentWords(), uint8(f)) }

// MarshalText writes the treatment in words.
func (f Fragments) MarshalText() ([]byte, error) {
	return marshal("fragments", fragmentWords(), uint8(f))
}

// UnmarshalText reads what MarshalText writes.
func (f *Fragments) UnmarshalText(text []byte) error {
	return unmarshal("fragments", fragmentWords(), (*uint8)(f), text)
}

func fragmentWords() []string { return []string{"dropped", "in order", "any order"} }

// A PortLifetime is the idle time of UDP mappings that only ever sent to one
// destination port (RFC 4787, 4.3, REQ-5a: shorter for well-known services).
type PortLifetime struct {
	Port     uint16
	Lifetime time.Duration
}

// Limits bounds mappings by protocol (RFC 6888, 3, REQ-4b); 0 = no bound.
type Limits struct {
	UDP  int `json:"udp,omitzero"`
	TCP  int `json:"tcp,omitzero"`
	ICMP int `json:"icmp,omitzero"`
}

func (l *Limits) of(proto byte) int {
	switch proto {
	case protoUDP:
		return l.UDP
	case protoTCP:
		return l.TCP
	case protoICMP:
		return l.ICMP
	}
	return 0
}

// An Exemption is a set of destinations that are reached without translation
// (RFC 6888, 3, REQ-6).
type Exemption struct {
	Prefix netip.Prefix `json:"prefix"`
	Port   uint16       `json:"port,omitzero"` // 0 = every port and protocol
}
