// Package message is the STUN codec of the prober and of its server: the
// Binding requests and answers of RFC 8489 with the behaviour discovery
// attributes of RFC 5780, and those of RFC 3489, which has no magic cookie.
//
// The framing is that of pion/stun. Here are added what that library leaves to
// its users: lengths are checked, messages without the cookie are taken, and
// what comes out are comparable addresses. Left out are credentials and
// FINGERPRINT, which a public discovery server does not use. A FINGERPRINT
// that came is not verified either: an answer that something on the way
// rewrote is to be seen, not missed.
//
//	req := message.Message{ID: message.NewID(), ChangeIP: true, ChangePort: true}
//	conn.WriteTo(req.Append(nil), server)
//	...
//	ans, err := message.Parse(buf[:n])
//	if err == nil && ans.ID == req.ID && ans.Class == message.Success {
//		mapped := ans.Reflexive()
//	}
package message

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
)

// Bounds of messages, in bytes of UDP payload.
const (
	MaxSize   = 1280 // of a message without PADDING, both ways
	MaxPadded = 9216 // of one with PADDING: the largest link in common use, and a little
)

// Class is the class of a message (RFC 8489, 5).
type Class uint8

// Classes, with the values they have on the wire. Request is the zero value.
const (
	Request Class = iota
	Indication
	Success
	Error
)

func (c Class) String() string {
	switch c {
	case Request:
		return "request"
	case Indication:
		return "indication"
	case Success:
		return "success"
	case Error:
		return "error"
	}
	return "unknown class"
}

// cookie marks the messages of RFC 5389 and its successor (RFC 8489, 5).
const cookie = 0x2112A442

// ID tells transactions apart: all 128 bits that RFC 3489 calls the
// transaction ID. Since RFC 5389 the first 32 of them are the magic cookie.
type ID [16]byte

// NewID returns a random ID with the magic cookie.
func NewID() ID {
	var id ID
	rand.Read(id[4:]) // does not fail (crypto/rand)
	binary.BigEndian.PutUint32(id[:], cookie)
	return id
}

// Classic reports whether the ID lacks the magic cookie: its message is one of
// RFC 3489.
func (id ID) Classic() bool { return binary.BigEndian.Uint32(id[:]) != cookie }

func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Message is a STUN Binding message. Fields without a value are zero; what a
// request or an answer carries of them is their business, not the codec's.
type Message struct {
	Class Class
	ID    ID

	// Of requests.
	ChangeIP     bool   // CHANGE-REQUEST: answer from the other address (RFC 5780, 7.2)
	ChangePort   bool   // CHANGE-REQUEST: answer from the other port
	ResponsePort uint16 // RESPONSE-PORT: answer to this port; 0 = not asked for (RFC 5780, 7.5)

	// Padding is the length of PADDING in bytes, in requests and answers
	// (RFC 5780, 7.6); 0 = none. Append rounds it up to a multiple of four.
	Padding int

	// Of answers. Invalid addresses are those that the answer did not have.
	Mapped    netip.AddrPort // MAPPED-ADDRESS, which meddling NATs rewrite
	XORMapped netip.AddrPort // XOR-MAPPED-ADDRESS (RFC 8489, 14.2)
	Origin    netip.AddrPort // RESPONSE-ORIGIN, else SOURCE-ADDRESS
	Other     netip.AddrPort // OTHER-ADDRESS, else CHANGED-ADDRESS
	// Old is that Origin and Other go by their names of RFC 3489,
	// SOURCE-ADDRESS and CHANGED-ADDRESS.
	Old       bool
	Alternate netip.AddrPort // ALTERNATE-SERVER (RFC 8489, 14.15)
	Software  string         // SOFTWARE, as it came: escape it before showing
	Code      int            // ERROR-CODE, 300 to 699
	Reason    string         // its text, as it came

	// Unknown are comprehension-required attribute types: in what Parse
	// returns for a request or success, those of the message that this
	// package does not know; in an error, those of UNKNOWN-ATTRIBUTES.
	Unknown []uint16
}

// Reflexive returns where the server saw the request come from:
// XOR-MAPPED-ADDRESS, or MAPPED-ADDRESS where there is no other.
func (m *Message) Reflexive() netip.AddrPort {
	if m.XORMapped.IsValid() {
		return m.XORMapped
	}
	return m.Mapped
}
