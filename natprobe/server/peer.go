package server

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"shipworm/natprobe/message"
)

// MaxSkew is how far the clocks of two hosts that act as one may be apart. A
// captured message can be replayed for as long; what it causes is an answer
// that was asked for, within the client's rate.
const MaxSkew = 30 * time.Second

// A note is what two hosts that act as one tell each other, always of noteSize
// bytes:
//
//	0  "SWN1"
//	4  kind
//	5  flags
//	6  time, milliseconds since 1970, 8 bytes
//	14 client: address (IPv4 as ::ffff:a.b.c.d) and port, 18 bytes
//	32 port that the answer goes to
//	34 length of PADDING
//	36 transaction, 16 bytes
//	52 HMAC-SHA-256 of the above, after the sender's public address and both ports
type note struct {
	kind    byte
	flags   byte
	at      time.Time
	client  netip.AddrPort // who asked
	port    uint16         // where at the client the answer goes
	padding uint16
	id      message.ID
}

// Kinds of notes.
const (
	noteHello  = 1 // I am here
	noteAnswer = 2 // answer this client from your address
)

// Flags of noteAnswer.
const (
	flagOtherPort  = 1 // the request came to OtherPort
	flagChangePort = 2 // the answer shall not come from the port that the request came to
)

const (
	noteMagic = "SWN1"
	noteBody  = 52
	noteSize  = noteBody + sha256.Size
)

var errNote = errors.New("not an authentic message of the peer")

// noteKey makes and checks the MACs of one direction. Sender and ports are
// covered so that neither a note sent back nor a peer with other ports passes.
type noteKey struct {
	key    []byte
	sender netip.Addr
	ports  [2]uint16
}

func (k noteKey) mac(body []byte) []byte {
	h := hmac.New(sha256.New, k.key)
	addr := k.sender.As16()
	h.Write(addr[:])
	h.Write([]byte{byte(k.ports[0] >> 8), byte(k.ports[0]), byte(k.ports[1] >> 8), byte(k.ports[1])})
	h.Write(body)
	return h.Sum(nil)
}

func (k noteKey) seal(n note) []byte {
	b := make([]byte, 0, noteSize)
	b = append(b, noteMagic...)
	b = append(b, n.kind, n.flags)
	b = binary.BigEndian.AppendUint64(b, uint64(n.at.UnixMilli()))
	addr := [16]byte{}
	if n.client.IsValid() {
		addr = n.client.Addr().As16()
	}
	b = append(b, addr[:]...)
	b = binary.BigEndian.AppendUint16(b, n.client.Port())
	b = binary.BigEndian.AppendUint16(b, n.port)
	b = binary.BigEndian.AppendUint16(b, n.padding)
	b = append(b, n.id[:]...)
	return append(b, k.mac(b)...)
}

func (k noteKey) open(now time.Time, b []byte) (note, error) {
	if len(b) != noteSize || !hmac.Equal(b[noteBody:], k.mac(b[:noteBody])) || string(b[:4]) != noteMagic {
		return note{}, errNote
	}
	n := note{
		kind: b[4], flags: b[5],
		at:      time.UnixMilli(int64(binary.BigEndian.Uint64(b[6:]))),
		client:  netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[14:30])).Unmap(), binary.BigEndian.Uint16(b[30:])),
		port:    binary.BigEndian.Uint16(b[32:]),
		padding: binary.BigEndian.Uint16(b[34:]),
		id:      message.ID(b[36:52]),
	}
	if d := now.Sub(n.at); d > MaxSkew || d < -MaxSkew {
		return note{}, errNote
	}
	return n, nil
}
