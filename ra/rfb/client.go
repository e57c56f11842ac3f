package rfb

import (
	"encoding/binary"
	"image"
	"io"
)

// Bounds of client messages.
const (
	maxEncodings    = 1024 // viewers list a few dozen
	maxFencePayload = 64   // community text, "ClientFence"
)

// Fence flags (community text).
const (
	FenceBlockBefore uint32 = 1 << 0
	FenceBlockAfter  uint32 = 1 << 1
	FenceSyncNext    uint32 = 1 << 2
	FenceRequest     uint32 = 1 << 31
)

// A ClientMessage is one of SetPixelFormat, SetEncodings, UpdateRequest,
// EnableContinuous or Fence.
type ClientMessage interface {
	// AppendTo appends the message as the client sends it.
	AppendTo(b []byte) []byte
}

// SetPixelFormat asks for pixels of another format.
type SetPixelFormat struct{ Format PixelFormat }

// SetEncodings lists what the client can read, best first.
type SetEncodings struct{ Encodings []int32 }

// UpdateRequest asks for one update of a part of the desktop: of what changed,
// or of everything.
type UpdateRequest struct {
	Incremental bool
	Rect        image.Rectangle
}

// EnableContinuous turns updates without requests on or off.
type EnableContinuous struct {
	On   bool
	Rect image.Rectangle
}

// A Fence marks a place in a stream; one with FenceRequest wants an answer.
type Fence struct {
	Flags   uint32
	Payload []byte // at most 64 bytes
}

// ReadClientMessage reads one message of the screen stream. Input, cut text
// and unknown messages are ErrProtocol; the end of the stream between two
// messages is io.EOF.
func ReadClientMessage(r io.Reader) (ClientMessage, error) {
	var buf [24]byte
	if _, err := io.ReadFull(r, buf[:1]); err != nil {
		return nil, err
	}
	be := binary.BigEndian
	read := func(n int) ([]byte, error) { // the n bytes after the type
		_, err := io.ReadFull(r, buf[1:1+n])
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return buf[1 : 1+n], err
	}
	switch buf[0] {
	case msgSetPixelFormat:
		b, err := read(19)
		if err != nil {
			return nil, err
		}
		f, err := ParsePixelFormat(b[3:])
		return SetPixelFormat{f}, err
	case msgSetEncodings:
		b, err := read(3)
		if err != nil {
			return nil, err
		}
		n := int(be.Uint16(b[1:]))
		if n > maxEncodings {
			return nil, protoErr("%d encodings", n)
		}
		list := make([]byte, 4*n)
		if _, err := io.ReadFull(r, list); err != nil {
			return nil, unexpected(err)
		}
		m := SetEncodings{make([]int32, n)}
		for i := range m.Encodings {
			m.Encodings[i] = int32(be.Uint32(list[4*i:]))
		}
		return m, nil
	case msgUpdateRequest, msgContinuous:
		b, err := read(9)
		if err != nil {
			return nil, err
		}
		rect := readRect(b[1:])
		if buf[0] == msgContinuous {
			return EnableContinuous{b[0] != 0, rect}, nil
		}
		return UpdateRequest{b[0] != 0, rect}, nil
	case msgFence:
		b, err := read(8)
		if err != nil {
			return nil, err
		}
		f := Fence{Flags: be.Uint32(b[3:]), Payload: make([]byte, b[7])}
		if len(f.Payload) > maxFencePayload {
			return nil, protoErr("fence of %d bytes", len(f.Payload))
		}
		_, err = io.ReadFull(r, f.Payload)
		return f, unexpected(err)
	}
	return nil, protoErr("client message %d does not belong on the screen stream", buf[0])
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func readRect(b []byte) image.Rectangle {
	be := binary.BigEndian
	x, y := int(be.Uint16(b)), int(be.Uint16(b[2:]))
	return image.Rect(x, y, x+int(be.Uint16(b[4:])), y+int(be.Uint16(b[6:])))
}

func appendRect(b []byte, r image.Rectangle) []byte {
	be := binary.BigEndian
	b = be.AppendUint16(be.AppendUint16(b, uint16(r.Min.X)), uint16(r.Min.Y))
	return be.AppendUint16(be.AppendUint16(b, uint16(r.Dx())), uint16(r.Dy()))
}

// AppendTo implements ClientMessage.
func (m SetPixelFormat) AppendTo(b []byte) []byte {
	return m.Format.AppendTo(append(b, msgSetPixelFormat, 0, 0, 0))
}

// AppendTo implements ClientMessage.
func (m SetEncodings) AppendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(append(b, msgSetEncodings, 0), uint16(len(m.Encodings)))
	for _, e := range m.Encodings {
		b = binary.BigEndian.AppendUint32(b, uint32(e))
	}
	return b
}

// AppendTo implements ClientMessage.
func (m UpdateRequest) AppendTo(b []byte) []byte {
	return appendRect(append(b, msgUpdateRequest, flag(m.Incremental)), m.Rect)
}

// AppendTo implements ClientMessage.
func (m EnableContinuous) AppendTo(b []byte) []byte {
	return appendRect(append(b, msgContinuous, flag(m.On)), m.Rect)
}

// AppendTo appends a ClientFence or, which is the same, a ServerFence.
func (m Fence) AppendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(append(b, msgFence, 0, 0, 0), m.Flags)
	return append(append(b, byte(len(m.Payload))), m.Payload...)
}

func flag(on bool) byte {
	if on {
		return 1
	}
	return 0
}
