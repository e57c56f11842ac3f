package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// MaxInput bounds the RFB message inside an input frame, in bytes: the longest
// that the input stream carries, QEMU's extended key event, has 12.
const MaxInput = 32

// An Input is one frame of the input stream: an RFB input message (RFC 6143,
// 7.5.4 and 7.5.5, or QEMU's extended key event), and the epoch of the grant
// under which the Helper made it.
type Input struct {
	Epoch   uint32
	Message []byte
}

// AppendInput appends in as one frame: epoch, one byte of length, message.
func AppendInput(b []byte, in Input) ([]byte, error) {
	if len(in.Message) < 1 || len(in.Message) > MaxInput {
		return b, fmt.Errorf("%w: input of %d bytes", ErrMessage, len(in.Message))
	}
	b = binary.BigEndian.AppendUint32(b, in.Epoch)
	b = append(b, byte(len(in.Message)))
	return append(b, in.Message...), nil
}

// ReadInput reads one frame into in, whose Message keeps its memory: it is
// valid until the next call. Errors are as with [ReadMessage].
func ReadInput(r io.Reader, in *Input) error {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := int(head[4])
	if n < 1 || n > MaxInput {
		return fmt.Errorf("%w: input of %d bytes", ErrMessage, n)
	}
	in.Epoch = binary.BigEndian.Uint32(head[:])
	if cap(in.Message) < MaxInput {
		in.Message = make([]byte, MaxInput)
	}
	in.Message = in.Message[:n]
	if _, err := io.ReadFull(r, in.Message); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}
