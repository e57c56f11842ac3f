// Package natpmp has the packets and the clock check of the NAT Port Mapping
// Protocol (RFC 6886), for a client and, in tests, for a gateway.
//
//	q := natpmp.Request{Op: natpmp.MapUDP, Internal: 3545, Lifetime: time.Hour}
//	packet := q.Append(nil)
//	...
//	r, err := natpmp.ParseResponse(answer)
//	if err == nil && r.Answers(&q) && r.Result == natpmp.Success {
//		use(r.External, r.Lifetime)
//	}
package natpmp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Ports of gateways and of clients, which hear announcements (RFC 6886, 3.1).
const (
	ServerPort = 5351
	ClientPort = 5350
)

// Op is an opcode (RFC 6886, 3).
type Op uint8

// Opcodes.
const (
	Address Op = 0 // the gateway's external address
	MapUDP  Op = 1
	MapTCP  Op = 2
)

// Result is a response's result code (RFC 6886, 3.5).
type Result uint16

// Result codes.
const (
	Success            Result = 0
	UnsupportedVersion Result = 1
	NotAuthorized      Result = 2
	NetworkFailure     Result = 3
	OutOfResources     Result = 4
	UnsupportedOpcode  Result = 5
)

var resultNames = [...]string{"success", "unsupported version", "not authorized", "network failure", "out of resources", "unsupported opcode"}

// String returns the RFC's words.
func (r Result) String() string {
	if int(r) < len(resultNames) {
		return resultNames[r]
	}
	return fmt.Sprintf("result %d", uint16(r))
}

// Request is a packet to a gateway. For Address only Op counts.
type Request struct {
	Op       Op
	Internal uint16
	External uint16        // a suggestion, 0 for none
	Lifetime time.Duration // whole seconds, 0 deletes
}

// Append appends the packet to b.
func (q *Request) Append(b []byte) []byte {
	b = append(b, 0, byte(q.Op))
	if q.Op == Address {
		return b
	}
	b = binary.BigEndian.AppendUint16(append(b, 0, 0), q.Internal)
	b = binary.BigEndian.AppendUint16(b, q.External)
	return binary.BigEndian.AppendUint32(b, seconds(q.Lifetime))
}

// Response is a packet from a gateway.
type Response struct {
	Op       Op
	Result   Result
	Epoch    uint32        // seconds since the gateway lost its state
	Addr     netip.Addr    // with Address
	Internal uint16        // with the others
	External uint16        //
	Lifetime time.Duration //
}

// Append appends the packet to b.
func (r *Response) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(append(b, 0, 0x80|byte(r.Op)), uint16(r.Result))
	b = binary.BigEndian.AppendUint32(b, r.Epoch)
	if r.Op == Address {
		ip := [4]byte{}
		if r.Addr.Is4() {
			ip = r.Addr.As4()
		}
		return append(b, ip[:]...)
	}
	b = binary.BigEndian.AppendUint16(b, r.Internal)
	b = binary.BigEndian.AppendUint16(b, r.External)
	return binary.BigEndian.AppendUint32(b, seconds(r.Lifetime))
}

// Answers reports whether r belongs to q. A gateway that refuses may leave the
// rest of its answer out. Where the packet came from is the caller's to check.
func (r *Response) Answers(q *Request) bool {
	if r.Result == UnsupportedVersion {
		return true // of opcode 0, whatever was asked (RFC 6886, 3.5)
	}
	if r.Op != q.Op {
		return false
	}
	return q.Op == Address || r.Result != Success || r.Internal == q.Internal
}

// Errors of parsing.
var (
	ErrLength = errors.New("natpmp: wrong length for its opcode")
	ErrKind   = errors.New("natpmp: request where a response was expected, or the reverse")
	ErrOpcode = errors.New("natpmp: unknown opcode")
)

// VersionError is a packet of another version. Version 2 is PCP.
type VersionError struct{ Version uint8 }

func (e *VersionError) Error() string { return fmt.Sprintf("natpmp: version %d", e.Version) }

// ParseResponse reads a packet from a gateway, or its announcement, which is a
// response to Address that nobody asked for. It keeps nothing of b. Errors may
// come without the fields that they have no use for.
func ParseResponse(b []byte) (Response, error) {
	switch {
	case len(b) < 2:
		return Response{}, ErrLength
	case b[0] != 0:
		return Response{}, &VersionError{b[0]}
	case b[1]&0x80 == 0 && !(b[1] == 0 && len(b) == 8): // an old server's answer to PCP has no R bit
		return Response{}, ErrKind
	case len(b) < 8:
		return Response{}, ErrLength
	}
	r := Response{Op: Op(b[1] & 0x7f), Result: Result(binary.BigEndian.Uint16(b[2:])), Epoch: binary.BigEndian.Uint32(b[4:])}
	switch {
	case r.Result != Success && len(b) < want(r.Op):
		return r, nil
	case r.Op > MapTCP:
		return Response{}, ErrOpcode
	case len(b) != want(r.Op):
		return Response{}, ErrLength
	case r.Op == Address:
		r.Addr = netip.AddrFrom4([4]byte(b[8:]))
	default:
		r.Internal, r.External = binary.BigEndian.Uint16(b[8:]), binary.BigEndian.Uint16(b[10:])
		r.Lifetime = time.Duration(binary.BigEndian.Uint32(b[12:])) * time.Second
	}
	return r, nil
}

// ParseRequest reads a packet from a client. It keeps nothing of b.
func ParseRequest(b []byte) (Request, error) {
	switch {
	case len(b) < 2:
		return Request{}, ErrLength
	case b[0] != 0:
		return Request{}, &VersionError{b[0]}
	case b[1]&0x80 != 0:
		return Request{}, ErrKind
	case Op(b[1]) > MapTCP:
		return Request{}, ErrOpcode
	}
	q := Request{Op: Op(b[1])}
	if q.Op == Address {
		if len(b) != 2 {
			return Request{}, ErrLength
		}
		return q, nil
	}
	if len(b) != 12 {
		return Request{}, ErrLength
	}
	q.Internal, q.External = binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	q.Lifetime = time.Duration(binary.BigEndian.Uint32(b[8:])) * time.Second
	return q, nil
}

// want is the length of a whole response.
func want(op Op) int {
	if op == Address {
		return 12
	}
	return 16
}

func seconds(d time.Duration) uint32 {
	return uint32(min(max(d/time.Second, 0), 1<<32-1))
}
