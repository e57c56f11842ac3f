package rfb

import "encoding/binary"

// Client message types (RFC 6143, 7.5; community text).
const (
	msgSetPixelFormat = 0
	msgSetEncodings   = 2
	msgUpdateRequest  = 3
	msgKeyEvent       = 4
	msgPointerEvent   = 5
	msgClientCutText  = 6
	msgContinuous     = 150
	msgFence          = 248
	msgQEMU           = 255
)

// An InputKind tells key from pointer.
type InputKind uint8

// Kinds of input. The zero kind is no input.
const (
	KeyInput     InputKind = 1
	PointerInput InputKind = 2
)

// An Input is one event of the Helper's keyboard or pointer.
type Input struct {
	Kind InputKind
	// Down, Keysym (X keysym) and Scancode (XT set 1, 0 if unknown) of a key.
	Down     bool
	Keysym   uint32
	Scancode uint32
	// Buttons that are down (bit 0 left, 1 middle, 2 right, 3 to 6 wheel up,
	// down, left, right, 7 back) and the position, in pixels of the desktop.
	Buttons uint8
	X, Y    uint16
}

// Sizes of the input messages in bytes.
const (
	keyEventSize     = 8
	pointerEventSize = 6
	qemuKeySize      = 12
)

// InputSize returns how many bytes the input message has that begins with the
// bytes of b, of which at least two are there if its type is 255; 0 if b does
// not begin an input message.
func InputSize(b []byte) int {
	switch {
	case len(b) == 0:
	case b[0] == msgKeyEvent:
		return keyEventSize
	case b[0] == msgPointerEvent:
		return pointerEventSize
	case b[0] == msgQEMU && len(b) > 1 && b[1] == 0:
		return qemuKeySize
	}
	return 0
}

// ParseInput reads one whole input message: KeyEvent, PointerEvent or QEMU
// extended key event. It says nothing about whether the event is allowed.
func ParseInput(b []byte) (Input, error) {
	n := InputSize(b)
	if n == 0 || len(b) != n {
		return Input{}, protoErr("not an input message")
	}
	be := binary.BigEndian
	switch b[0] {
	case msgKeyEvent:
		return Input{Kind: KeyInput, Down: b[1] != 0, Keysym: be.Uint32(b[4:])}, nil
	case msgPointerEvent:
		return Input{Kind: PointerInput, Buttons: b[1], X: be.Uint16(b[2:]), Y: be.Uint16(b[4:])}, nil
	}
	return Input{Kind: KeyInput, Down: be.Uint16(b[2:]) != 0, Keysym: be.Uint32(b[4:]), Scancode: be.Uint32(b[8:])}, nil
}

// AppendTo appends the message of the event: a KeyEvent, a QEMU extended key
// event if there is a scancode, or a PointerEvent.
func (in Input) AppendTo(b []byte) []byte {
	be := binary.BigEndian
	down := byte(0)
	if in.Down {
		down = 1
	}
	switch {
	case in.Kind == PointerInput:
		b = append(b, msgPointerEvent, in.Buttons)
		return be.AppendUint16(be.AppendUint16(b, in.X), in.Y)
	case in.Scancode != 0:
		b = append(b, msgQEMU, 0, 0, down)
		return be.AppendUint32(be.AppendUint32(b, in.Keysym), in.Scancode)
	}
	return be.AppendUint32(append(b, msgKeyEvent, down, 0, 0), in.Keysym)
}
