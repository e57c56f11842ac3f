package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"shipworm/internal/clean"
)

// Version is the version of the control stream; the first message of each
// side names it. There is one, and no way to agree on another.
const Version = 1

// Type is the type of a message.
type Type byte

// Types of messages; the letter says who may send it. 0x20 to 0x3f are
// reserved for files and bandwidth: in this version they end the session.
const (
	Hello          Type = 0x01 // both, once, first: version and name
	Heartbeat      Type = 0x02 // both
	Bye            Type = 0x03 // both, last: why the session ends
	Chat           Type = 0x04 // both
	ViewAnswer     Type = 0x10 // U: may the Helper see the desktop
	RequestControl Type = 0x11 // H
	ControlAnswer  Type = 0x12 // U: may the Helper share control
	ReleaseControl Type = 0x13 // H
	ControlEnded   Type = 0x14 // U: exactly one for every grant
	Pause          Type = 0x15 // U
	Resume         Type = 0x16 // U
	Epoch          Type = 0x17 // U: input carries this epoch from now on
)

// Codes of ViewAnswer and ControlAnswer.
const (
	No       byte = 0
	Yes      byte = 1
	NoAnswer byte = 2 // nobody answered in time
	TooSoon  byte = 3 // ControlAnswer: asked again right after a No; nobody was asked
)

// Codes of ControlEnded.
const (
	ByHelper byte = 0 // the answer to ReleaseControl
	ByUser   byte = 1
	ByEsc    byte = 2 // the User pressed Esc
	Lapsed   byte = 3 // the grant has run out
)

// Codes of Bye, also used when the channel is closed.
const (
	ByeStop     byte = 0 // somebody's wish
	ByeRefused  byte = 1 // the User said No to the view
	ByeNoAnswer byte = 2 // the User said nothing
	ByeProtocol byte = 3 // the peer broke the rules
	ByeBusy     byte = 4 // another session is running
	ByeVersion  byte = 5 // the peer speaks another version
	ByeFailed   byte = 6 // a failure on the sender's side
)

// Bounds of the codec, in bytes.
const (
	MaxReason = 256                   // text of Bye
	MaxFrame  = 1 + 2 + clean.MaxText // type and body; the two bytes of length come before
)

// A Message is one message of the control stream. Which fields count depends
// on Type; the others are zero.
type Message struct {
	Type    Type
	Version byte   // Hello
	Code    byte   // Bye, ViewAnswer, ControlAnswer, ControlEnded
	Text    string // Hello: the name; Chat; Bye. Not cleaned
	Epoch   uint32 // ControlAnswer with Yes, Epoch; never 0 there
	Lapse   uint32 // ControlAnswer with Yes: seconds until the grant lapses
}

// ErrMessage reports bytes that are no message; the session must end.
var ErrMessage = errors.New("malformed control message")

// AppendMessage appends m as one frame: length, type, body.
func AppendMessage(b []byte, m Message) ([]byte, error) {
	start := len(b)
	b = append(b, 0, 0, byte(m.Type))
	switch m.Type {
	case Hello:
		b = append(b, m.Version)
		b = append(b, m.Text...)
	case Bye:
		b = append(b, m.Code)
		b = append(b, m.Text...)
	case Chat:
		b = append(b, m.Text...)
	case ViewAnswer, ControlEnded:
		b = append(b, m.Code)
	case ControlAnswer:
		b = append(b, m.Code)
		if m.Code == Yes {
			b = binary.BigEndian.AppendUint32(b, m.Epoch)
			b = binary.BigEndian.AppendUint32(b, m.Lapse)
		}
	case Epoch:
		b = binary.BigEndian.AppendUint32(b, m.Epoch)
	}
	n := len(b) - start - 2
	if n > MaxFrame {
		return b[:start], fmt.Errorf("%w: %d bytes", ErrMessage, n)
	}
	binary.BigEndian.PutUint16(b[start:], uint16(n))
	if back, err := parseFrame(b[start+2:]); err != nil || back != m {
		return b[:start], errors.Join(fmt.Errorf("%w: %+v cannot be sent", ErrMessage, m), err)
	}
	return b, nil
}

// ReadMessage reads one message from r. It reads no byte beyond it and
// allocates no more than MaxFrame. io.EOF means that the stream ended between
// two messages; an error that wraps [ErrMessage], that the peer broke the rules.
func ReadMessage(r io.Reader) (Message, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Message{}, err
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	if n < 1 || n > MaxFrame {
		return Message{}, fmt.Errorf("%w: length %d is not in 1 to %d", ErrMessage, n, MaxFrame)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return Message{}, err
	}
	return parseFrame(b)
}

// parseFrame decodes type and body. It is strict: a body is exactly as long as
// its type says, codes are known, texts are UTF-8 within their bounds.
func parseFrame(b []byte) (Message, error) {
	m, body := Message{Type: Type(b[0])}, b[1:]
	bad := func(what string) (Message, error) {
		return Message{}, fmt.Errorf("%w: type %#02x: %s", ErrMessage, b[0], what)
	}
	need := func(n int) bool { return len(body) == n }
	switch m.Type {
	case Heartbeat, RequestControl, ReleaseControl, Pause, Resume:
		if !need(0) {
			return bad("body is not empty")
		}
	case Hello, Bye:
		if len(body) < 1 {
			return bad("body is empty")
		}
		max := clean.MaxName
		if m.Type == Hello {
			m.Version = body[0]
		} else {
			m.Code, max = body[0], MaxReason
		}
		m.Text = string(body[1:])
		if len(m.Text) > max || !utf8.ValidString(m.Text) || m.Type == Bye && m.Code > ByeFailed {
			return bad("text or code out of bounds")
		}
	case Chat:
		m.Text = string(body)
		if len(m.Text) < 1 || len(m.Text) > clean.MaxText || !utf8.ValidString(m.Text) {
			return bad("text out of bounds")
		}
	case ViewAnswer, ControlEnded:
		last := NoAnswer
		if m.Type == ControlEnded {
			last = Lapsed
		}
		if !need(1) || body[0] > last {
			return bad("no such code")
		}
		m.Code = body[0]
	case ControlAnswer:
		if len(body) < 1 || body[0] > TooSoon || body[0] == Yes && !need(9) || body[0] != Yes && !need(1) {
			return bad("no such answer")
		}
		m.Code = body[0]
		if m.Code == Yes {
			m.Epoch, m.Lapse = binary.BigEndian.Uint32(body[1:]), binary.BigEndian.Uint32(body[5:])
			if m.Epoch == 0 {
				return bad("epoch 0")
			}
		}
	case Epoch:
		if !need(4) {
			return bad("no epoch")
		}
		if m.Epoch = binary.BigEndian.Uint32(body); m.Epoch == 0 {
			return bad("epoch 0")
		}
	default:
		return bad("unknown")
	}
	return m, nil
}
