// Package pcp has the packets and the clock check of the Port Control Protocol
// (RFC 6887), for a client and, in tests, for a server.
//
// It knows the opcodes ANNOUNCE and MAP. PEER, THIRD_PARTY, FILTER and
// PREFER_FAILURE are left out: a Mapper maps only its own ports and takes the
// port that it gets. Options of a response are skipped.
//
//	q := pcp.Request{Op: pcp.Map, Lifetime: time.Hour, Client: me,
//		Mapping: pcp.Mapping{Nonce: nonce, Protocol: pcp.UDP, Internal: 3545}}
//	packet := q.Append(nil)
//	...
//	r, err := pcp.ParseResponse(answer)
//	if err == nil && r.Answers(&q) && r.Result == pcp.Success {
//		use(r.Mapping.External, r.Lifetime)
//	}
package pcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Version is the only version spoken here. Version 1 was a draft and must not
// be used (RFC 6887, appendix A).
const Version = 2

// Ports of servers and of clients, which hear announcements (RFC 6887, 19.1).
const (
	ServerPort = 5351
	ClientPort = 5350
)

// Sizes in octets (RFC 6887, 7).
const (
	HeaderLen = 24
	MapLen    = HeaderLen + 36
	MaxLen    = 1100
)

// MaxLifetime is what a client believes at most (RFC 6887, 15).
const MaxLifetime = 24 * time.Hour

// Opcode says what a packet is about (RFC 6887, 19.2).
type Opcode uint8

// Opcodes.
const (
	Announce Opcode = 0
	Map      Opcode = 1
)

// IANA protocol numbers, as MAP carries them.
const (
	TCP uint8 = 6
	UDP uint8 = 17
)

// Result is a response's result code (RFC 6887, 7.4).
type Result uint8

// Result codes.
const (
	Success               Result = 0
	UnsupportedVersion    Result = 1
	NotAuthorized         Result = 2
	MalformedRequest      Result = 3
	UnsupportedOpcode     Result = 4
	UnsupportedOption     Result = 5
	MalformedOption       Result = 6
	NetworkFailure        Result = 7
	NoResources           Result = 8
	UnsupportedProtocol   Result = 9
	UserExceededQuota     Result = 10
	CannotProvideExternal Result = 11
	AddressMismatch       Result = 12
	ExcessiveRemotePeers  Result = 13
)

var resultNames = [...]string{
	"SUCCESS", "UNSUPP_VERSION", "NOT_AUTHORIZED", "MALFORMED_REQUEST", "UNSUPP_OPCODE", "UNSUPP_OPTION", "MALFORMED_OPTION",
	"NETWORK_FAILURE", "NO_RESOURCES", "UNSUPP_PROTOCOL", "USER_EX_QUOTA", "CANNOT_PROVIDE_EXTERNAL", "ADDRESS_MISMATCH", "EXCESSIVE_REMOTE_PEERS",
}

// String returns the RFC's name.
func (r Result) String() string {
	if int(r) < len(resultNames) {
		return resultNames[r]
	}
	return fmt.Sprintf("result %d", uint8(r))
}

// Nonce proves that a request about a mapping comes from who made it.
type Nonce [12]byte

// Mapping is the body of MAP (RFC 6887, 11.1): the external endpoint is a
// suggestion in a request and the assigned one in a response.
type Mapping struct {
	Nonce    Nonce
	Protocol uint8 // IANA
	Internal uint16
	External netip.AddrPort // a zero Addr in a request: no preference
}

// Request is a packet to a server.
type Request struct {
	Op       Opcode
	Lifetime time.Duration // whole seconds, 0 deletes
	Client   netip.Addr    // the address that the packet is sent from
	Mapping  Mapping       // with Map only
}

// Append appends the packet to b.
func (q *Request) Append(b []byte) []byte {
	b = append(b, Version, byte(q.Op), 0, 0)
	b = binary.BigEndian.AppendUint32(b, seconds(q.Lifetime))
	b = appendAddr(b, q.Client)
	if q.Op == Map {
		b = q.Mapping.append(b, q.Client.Is4())
	}
	return b
}

// Response is a packet from a server. Its Mapping is zero unless Op is Map.
type Response struct {
	Op       Opcode
	Result   Result
	Lifetime time.Duration // of the mapping, or how long an error lasts
	Epoch    uint32        // seconds since the server lost its state
	Mapping  Mapping
}

// Append appends the packet to b.
func (r *Response) Append(b []byte) []byte {
	b = append(b, Version, 0x80|byte(r.Op), 0, byte(r.Result))
	b = binary.BigEndian.AppendUint32(b, seconds(r.Lifetime))
	b = binary.BigEndian.AppendUint32(b, r.Epoch)
	b = append(b, make([]byte, 12)...)
	if r.Op == Map {
		b = r.Mapping.append(b, r.Mapping.External.Addr().Is4())
	}
	return b
}

// Answers reports whether r belongs to q (RFC 6887, 8.3 and 11.4). Where the
// packet came from is the caller's to check.
func (r *Response) Answers(q *Request) bool {
	if r.Op != q.Op {
		return false
	}
	return r.Op != Map || r.Mapping.Nonce == q.Mapping.Nonce &&
		r.Mapping.Protocol == q.Mapping.Protocol && r.Mapping.Internal == q.Mapping.Internal
}

// Errors of parsing.
var (
	ErrLength = errors.New("pcp: length is not 24 to 1100 octets in fours")
	ErrShort  = errors.New("pcp: too short for its opcode")
	ErrKind   = errors.New("pcp: request where a response was expected, or the reverse")
)

// VersionError is a packet of another version. Version 0 is NAT-PMP: a server
// that speaks nothing newer answers a PCP request with it (RFC 6886, 3.5).
type VersionError struct{ Version uint8 }

func (e *VersionError) Error() string { return fmt.Sprintf("pcp: version %d", e.Version) }

// ParseResponse reads a packet from a server. It keeps nothing of b.
func ParseResponse(b []byte) (Response, error) {
	if err := check(b, true); err != nil {
		return Response{}, err
	}
	r := Response{
		Op: Opcode(b[1] & 0x7f), Result: Result(b[3]),
		Lifetime: time.Duration(binary.BigEndian.Uint32(b[4:])) * time.Second,
		Epoch:    binary.BigEndian.Uint32(b[8:]),
	}
	if r.Op == Map {
		if len(b) < MapLen {
			return Response{}, ErrShort
		}
		r.Mapping = parseMapping(b[HeaderLen:])
	}
	return r, nil
}

// ParseRequest reads a packet from a client. It keeps nothing of b.
func ParseRequest(b []byte) (Request, error) {
	if err := check(b, false); err != nil {
		return Request{}, err
	}
	q := Request{
		Op: Opcode(b[1] & 0x7f), Lifetime: time.Duration(binary.BigEndian.Uint32(b[4:])) * time.Second,
		Client: addr(b[8:]),
	}
	if q.Op == Map {
		if len(b) < MapLen {
			return Request{}, ErrShort
		}
		q.Mapping = parseMapping(b[HeaderLen:])
	}
	return q, nil
}

func check(b []byte, response bool) error {
	switch {
	case len(b) < 2:
		return ErrLength
	case b[0] != Version:
		return &VersionError{b[0]}
	case b[1]&0x80 != 0 != response:
		return ErrKind
	case len(b) < HeaderLen || len(b) > MaxLen || len(b)%4 != 0:
		return ErrLength
	}
	return nil
}

func (m *Mapping) append(b []byte, v4 bool) []byte {
	b = append(b, m.Nonce[:]...)
	b = append(b, m.Protocol, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, m.Internal)
	b = binary.BigEndian.AppendUint16(b, m.External.Port())
	ip := m.External.Addr()
	if !ip.IsValid() { // no preference is all zeros of the family (RFC 6887, 11.1)
		if ip = netip.IPv6Unspecified(); v4 {
			ip = netip.IPv4Unspecified()
		}
	}
	return appendAddr(b, ip)
}

func parseMapping(b []byte) Mapping {
	m := Mapping{Nonce: Nonce(b[:12]), Protocol: b[12], Internal: binary.BigEndian.Uint16(b[16:])}
	m.External = netip.AddrPortFrom(addr(b[20:]), binary.BigEndian.Uint16(b[18:]))
	return m
}

func appendAddr(b []byte, ip netip.Addr) []byte {
	a := ip.As16()
	return append(b, a[:]...)
}

func addr(b []byte) netip.Addr { return netip.AddrFrom16([16]byte(b[:16])).Unmap() }

// seconds is d in whole seconds, within the field.
func seconds(d time.Duration) uint32 {
	return uint32(min(max(d/time.Second, 0), 1<<32-1))
}
