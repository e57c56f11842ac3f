package rfb

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
	"strings"
	"unicode"

	"shipworm/ra/screen"
)

const (
	version38    = "RFB 003.008\n"
	securityNone = 1
	// maxDropped bounds cut text that is thrown away.
	maxDropped = 64 << 20
)

// Bridge shows the desktop of a screen stream to one local viewer, noVNC or
// any other: towards viewer it is an RFB 3.8 server (3.3 and 3.7 are spoken
// too) without security, since whoever can reach viewer has been admitted
// already. Messages of the viewer go to screen, but for:
//
//   - key and pointer events, which go whole to onInput, in order, from one
//     goroutine. The slice is valid during the call; an error ends the bridge;
//   - cut text, xvp and size requests, which are dropped.
//
// What comes from screen is checked while it passes: known messages and
// encodings only, rectangles inside the desktop, lengths that fit.
// Cut text of the other side is dropped.
//
// Bridge blocks until ctx ends (returning its error), the viewer leaves (nil),
// or the screen stream ends. As in Serve, both streams need SetDeadline or
// Close, and cannot be used afterwards; the caller closes them.
func Bridge(ctx context.Context, viewer, screen io.ReadWriter, onInput func(msg []byte) error) error {
	unblock := context.AfterFunc(ctx, func() { interrupt(viewer); interrupt(screen) })
	defer unblock()
	err := bridge(viewer, screen, onInput)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errViewerLeft):
		return nil
	}
	return fmt.Errorf("rfb: %w", err)
}

var errViewerLeft = errors.New("viewer left")

func bridge(viewer, stream io.ReadWriter, onInput func([]byte) error) error {
	defer interrupt(viewer)
	defer interrupt(stream)
	vr := bufio.NewReader(viewer)
	if err := greet(vr, viewer); err != nil {
		return viewerErr(err)
	}
	sk := &skimmer{r: bufio.NewReaderSize(stream, 64<<10), w: bufio.NewWriterSize(leaver{viewer}, 64<<10)}
	if err := sk.serverInit(); err != nil {
		return fmt.Errorf("screen stream: %w", err)
	}
	// The direction that ends first has the reason; the other only notices.
	ends := make(chan error, 2)
	go func() { ends <- forward(vr, stream, sk, onInput) }()
	go func() { ends <- sk.run() }()
	err := <-ends
	interrupt(viewer)
	interrupt(stream)
	<-ends
	return err
}

// A leaver is a viewer to which a failed write means that it has left.
type leaver struct{ io.Writer }

func (l leaver) Write(b []byte) (int, error) {
	n, err := l.Writer.Write(b)
	if err != nil {
		err = errViewerLeft
	}
	return n, err
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

func viewerErr(err error) error {
	if isEOF(err) {
		return errViewerLeft
	}
	return fmt.Errorf("viewer: %w", err)
}

// greet plays the server's half up to ClientInit (RFC 6143, 7.1 to 7.3;
// versions 3.3 and 3.7 by its appendix A).
func greet(r *bufio.Reader, w io.Writer) error {
	if _, err := io.WriteString(w, version38); err != nil {
		return err
	}
	b := make([]byte, 12)
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	var major, minor int
	if _, err := fmt.Sscanf(string(b), "RFB %03d.%03d\n", &major, &minor); err != nil || major != 3 {
		return protoErr("version %q", b)
	}
	if minor < 7 {
		if _, err := w.Write([]byte{0, 0, 0, securityNone}); err != nil {
			return err
		}
	} else {
		if _, err := w.Write([]byte{1, securityNone}); err != nil {
			return err
		}
		choice, err := r.ReadByte()
		if err != nil {
			return err
		}
		if choice != securityNone {
			return protoErr("security type %d", choice)
		}
		if minor >= 8 {
			if _, err := w.Write([]byte{0, 0, 0, 0}); err != nil {
				return err
			}
		}
	}
	_, err := r.ReadByte() // ClientInit: sharing makes no difference here
	return err
}

// serverInit forwards ServerInit, with a size within bounds and the name
// cleaned: it is a stranger's string and ends up in a window title.
func (s *skimmer) serverInit() error {
	b := make([]byte, 4+pixelFormatSize+4)
	if _, err := io.ReadFull(s.r, b); err != nil {
		return err
	}
	be := binary.BigEndian
	s.size = image.Pt(int(be.Uint16(b)), int(be.Uint16(b[2:])))
	if screen.CheckSize(s.size) != nil {
		return protoErr("desktop of %v pixels", s.size)
	}
	format, err := ParsePixelFormat(b[4:])
	if err != nil {
		return err
	}
	s.setFormat(format)
	n := be.Uint32(b[len(b)-4:])
	if n > maxName {
		return protoErr("name of %d bytes", n)
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(s.r, raw); err != nil {
		return unexpected(err)
	}
	name := strings.Map(func(c rune) rune {
		if c == unicode.ReplacementChar || !unicode.IsPrint(c) {
			return -1
		}
		return c
	}, string(raw))
	be.PutUint32(b[len(b)-4:], uint32(len(name)))
	if _, err := s.w.Write(append(b, name...)); err != nil {
		return err
	}
	return s.w.Flush()
}

// forward reads the viewer's messages until it leaves.
func forward(r *bufio.Reader, stream io.Writer, sk *skimmer, onInput func([]byte) error) error {
	requested := false
	for {
		head, err := r.Peek(1)
		if err != nil {
			return viewerErr(err)
		}
		switch head[0] {
		case msgKeyEvent, msgPointerEvent, msgQEMU:
			if err := takeInput(r, onInput); err != nil {
				return err
			}
			continue
		case msgClientCutText, msgXvp, msgSetDesktopSize:
			if err := drop(r); err != nil {
				return viewerErr(err)
			}
			continue
		}
		m, err := ReadClientMessage(r)
		if err != nil {
			return viewerErr(err)
		}
		switch m := m.(type) {
		case UpdateRequest, EnableContinuous:
			requested = true
		case SetPixelFormat:
			if requested {
				// Updates on their way still have the old pixels, and nothing
				// in the stream says where the new ones begin.
				return viewerErr(protoErr("pixel format changed after the first request"))
			}
			sk.setFormat(m.Format)
		case SetEncodings:
			m.Encodings = supported(m.Encodings)
			if _, err := stream.Write(m.AppendTo(nil)); err != nil {
				return fmt.Errorf("screen stream: %w", err)
			}
			continue
		}
		if _, err := stream.Write(m.AppendTo(nil)); err != nil {
			return fmt.Errorf("screen stream: %w", err)
		}
	}
}

// supported keeps the encodings that the skimmer can check.
func supported(list []int32) []int32 {
	var out []int32
	for _, e := range list {
		switch {
		case e == EncRaw, e == EncCopyRect, e == EncTight, e == EncZRLE, e == EncDesktopSize, e == EncLastRect,
			e == EncCursor, e == EncFence, e == EncContinuous,
			e >= EncQuality0 && e <= EncQuality0+9, e >= EncFineQuality0 && e <= EncFineQuality0+100:
			out = append(out, e)
		}
	}
	return out
}

// Client messages that are read only to be dropped (community text).
const (
	msgXvp            = 250
	msgSetDesktopSize = 251
)

func takeInput(r *bufio.Reader, onInput func([]byte) error) error {
	b, err := r.Peek(2)
	if err != nil {
		return viewerErr(err)
	}
	n := InputSize(b)
	if n == 0 {
		return viewerErr(protoErr("QEMU message %d", b[1]))
	}
	if b, err = r.Peek(n); err != nil {
		return viewerErr(err)
	}
	if err := onInput(b); err != nil {
		return fmt.Errorf("input: %w", err)
	}
	_, err = r.Discard(n)
	return err
}

func drop(r *bufio.Reader) error {
	b, err := r.Peek(4)
	if err != nil {
		return err
	}
	n := int64(4) // xvp
	switch b[0] {
	case msgClientCutText:
		if b, err = r.Peek(8); err != nil {
			return err
		}
		size := int64(int32(binary.BigEndian.Uint32(b[4:])))
		if size < 0 { // extended clipboard
			size = -size
		}
		n = 8 + size
	case msgSetDesktopSize:
		if b, err = r.Peek(8); err != nil {
			return err
		}
		n = 8 + 16*int64(b[6])
	}
	if n > maxDropped {
		return protoErr("cut text of %d bytes", n)
	}
	_, err = io.CopyN(io.Discard, r, n)
	return err
}
