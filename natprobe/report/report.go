// Package report says what a probe found: the values themselves, their names
// in three vocabularies (RFC 4787, RFC 3489, netsh), text for people, JSON,
// what changed between two probes, and a profile from which the laboratory
// rebuilds the NAT.
//
// It measures nothing and knows no socket. The zero value of every field means
// that it was not tested or is not known; nothing here turns that into a
// verdict.
//
//	var r report.Report
//	if err := json.Unmarshal(saved, &r); err != nil { ... }
//	fmt.Println(r.Classic())        // "port restricted cone"
//	r.Redact().WriteText(os.Stdout) // fit for a ticket
package report

import (
	"net/netip"
	"time"
)

// Schema is the version of the JSON form of a Report.
const Schema = 1

// Report is the outcome of one probe over one address family. Its JSON form
// has "schema": 1, and the names of RFC 3489 and of netsh as "rfc3489" and
// "netsh", computed from the rest.
type Report struct {
	Time     time.Time `json:"time"`     // when the probe began
	Duration Duration  `json:"duration"` // wall time
	// Interrupted is that the probe was ended before its tests were. What they
	// had not come to is unknown or not tested.
	Interrupted bool `json:"interrupted,omitzero"`

	Servers []Server `json:"servers"` // in the order they were asked
	Kind    Kind     `json:"kind"`    // what the servers made possible

	Local  netip.AddrPort `json:"local,omitzero"`  // of the socket that Mapped belongs to
	Mapped netip.AddrPort `json:"mapped,omitzero"` // as the first server saw it

	Access    Access   `json:"access"`
	Silence   Silence  `json:"silence,omitzero"` // why nobody answered
	Mapping   Behavior `json:"mapping"`          // RFC 4787, 4.1
	Filtering Behavior `json:"filtering"`        // RFC 4787, 5

	PortPreserving Verdict    `json:"port_preserving"`    // RFC 4787, 4.2.1
	Parity         Verdict    `json:"parity"`             // RFC 4787, 4.2.2
	Contiguity     Verdict    `json:"contiguity"`         // RFC 4787, 4.2.3
	Allocation     Allocation `json:"allocation"`         // of ports that are not preserved
	Pooling        Pooling    `json:"pooling"`            // RFC 4787, 4.1, REQ-2
	Pool           int        `json:"pool_seen,omitzero"` // different external addresses seen
	Deterministic  Verdict    `json:"deterministic"`      // RFC 4787, 8, REQ-11
	Collision      Collision  `json:"collision"`          // of two hosts that use one port (RFC 4787, 4.2.1)

	Hairpin      Hairpin   `json:"hairpin"`
	Lifetimes    Lifetimes `json:"lifetimes"`
	Fragments    Fragments `json:"fragments"`
	ALG          Verdict   `json:"alg"`           // something rewrites addresses in payloads (RFC 5780, 3.6)
	EarlyInbound Verdict   `json:"early_inbound"` // an unsolicited packet changes later mappings

	Layers []Layer `json:"layers,omitempty"` // routers on the way, nearest first
	CGNAT  Verdict `json:"cgnat"`            // a translator beyond the home's
	MTU    int     `json:"mtu,omitzero"`     // largest IP packet that got out in one piece, bytes, of the sizes tried; 0 = none, or not tested

	Packets  Packets    `json:"packets"`
	Evidence []Evidence `json:"evidence,omitempty"`
	IPv6     *Report    `json:"ipv6,omitempty"` // the same over IPv6, where that was probed
}

// Server is a server that was asked.
type Server struct {
	Name     string         `json:"name,omitempty"` // as the user gave it
	Addr     netip.AddrPort `json:"addr,omitzero"`
	Other    netip.AddrPort `json:"other,omitzero"` // its other address and port, if it said so and it was used
	Kind     Kind           `json:"kind"`
	Answered bool           `json:"answered"`
	RTT      Duration       `json:"rtt,omitzero"`       // the shortest seen
	Software string         `json:"software,omitempty"` // as it came; WriteText escapes it
}

// Allocation is how external ports are chosen.
type Allocation struct {
	Kind AllocationKind `json:"kind"`
	// Delta is the step from one mapping's port to the next; 0 unless Sequential.
	Delta int `json:"delta,omitzero"`
	// Next is the port that the next mapping is expected to get; 0 = no
	// prediction. It was tried unless Predicted is NotTested.
	Next      uint16  `json:"next,omitzero"`
	Predicted Verdict `json:"predicted"`
}

// Hairpin is whether an inside host reaches another through the NAT's outside
// (RFC 4787, 6).
type Hairpin struct {
	Verdict Verdict `json:"verdict"`
	Source  Source  `json:"source"`
}

// Lifetimes are those of an idle UDP mapping (RFC 4787, 4.3).
type Lifetimes struct {
	Single         Bound   `json:"single"` // after one exchange
	Stream         Bound   `json:"stream"` // after several
	InboundRefresh Verdict `json:"inbound_refresh"`
}

// Bound is a time known from two sides: a mapping was seen alive after Alive,
// and dead after Dead. Zero = not seen. Only with both zero was it not tested.
type Bound struct {
	Alive Duration `json:"alive,omitzero"`
	Dead  Duration `json:"dead,omitzero"`
}

// Tested reports whether anything is known.
func (b Bound) Tested() bool { return b != Bound{} }

// Fragments is whether datagrams in pieces get through (RFC 4787, 11).
type Fragments struct {
	Out Verdict `json:"out"`
	In  Verdict `json:"in"`
}

// Layer is a router on the way to the server.
type Layer struct {
	TTL  int        `json:"ttl"`           // hops from here, the first is 1
	Addr netip.Addr `json:"addr,omitzero"` // invalid where it kept silent
}

// Packets counts those of the probe.
type Packets struct {
	Sent     int `json:"sent"`
	Received int `json:"received"`
	Ignored  int `json:"ignored"` // of Received: not an answer that a test expected
}

// Evidence is one observation.
type Evidence struct {
	For  string `json:"for"`  // the JSON name of the result that it supports, "filtering"
	Text string `json:"text"` // one line
}

// Duration is a time.Duration that stands in JSON as "1.5s".
type Duration time.Duration

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes the duration in Go's spelling.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// NoNAT reports whether the probe saw that no address is translated. Access
// may be unknown nonetheless: a firewall shows only to a server that has two
// addresses.
func (r *Report) NoNAT() bool {
	return r.Access == Open || r.Access == Firewall || r.Access == AccessUnknown && r.Mapped.IsValid() && r.Mapped == r.Local
}

// overIPv6 reports whether the probe went over IPv6 alone.
func (r *Report) overIPv6() bool { return r.Mapped.Addr().Is6() }

// Inside reports whether the probe met no NAT because the server is on this
// host or in its own private network: it says nothing about the Internet.
func (r *Report) Inside() bool {
	a := r.Mapped.Addr()
	return r.NoNAT() && (a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || shared.Contains(a))
}

// Note adds one line of evidence for the result of that JSON name.
func (r *Report) Note(result, text string) {
	r.Evidence = append(r.Evidence, Evidence{result, text})
}
