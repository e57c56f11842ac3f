package rfb

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
	"sync/atomic"

	"shipworm/ra/screen"
)

// A skimmer copies the server's messages to a viewer and checks their framing
// on the way: it knows how long everything is, without decoding pixels.
type skimmer struct {
	r    *bufio.Reader
	w    *bufio.Writer
	size image.Point
	pc   atomic.Pointer[pixelCodec] // set by the viewer's side, before the first request
	err  error
	b    [64]byte
}

func (s *skimmer) setFormat(f PixelFormat) {
	pc := newPixelCodec(f)
	s.pc.Store(&pc)
}

// run copies until an error; io.EOF is the end between two messages.
func (s *skimmer) run() error {
	for s.err == nil {
		if s.r.Buffered() == 0 {
			if err := s.w.Flush(); err != nil {
				return err
			}
		}
		kind, err := s.r.ReadByte()
		if err != nil {
			return fmt.Errorf("screen stream: %w", err)
		}
		s.message(kind)
	}
	if errors.Is(s.err, errViewerLeft) {
		return s.err
	}
	return fmt.Errorf("screen stream: %w", s.err)
}

func (s *skimmer) message(kind byte) {
	switch kind {
	case msgUpdate:
		s.put(kind)
		n := int(binary.BigEndian.Uint16(s.pass(3)[1:]))
		for i := 0; (i < n || n == maxRects-1) && s.err == nil; i++ {
			if !s.rect() {
				break
			}
		}
	case msgEndContinuous:
		s.put(kind)
	case msgFence:
		s.put(kind)
		if n := s.pass(8)[7]; n > maxFencePayload {
			s.fail("fence of %d bytes", n)
		} else {
			s.copy(int64(n))
		}
	case msgBell:
	case msgServerCutText:
		b := s.take(7)
		s.skip(int64(binary.BigEndian.Uint32(b[3:])))
	default:
		s.fail("unknown server message %d", kind)
	}
}

// rect copies one rectangle; false after LastRect.
func (s *skimmer) rect() bool {
	b := s.pass(12)
	r, enc := readRect(b), int32(binary.BigEndian.Uint32(b[8:]))
	pc := s.pc.Load()
	switch enc {
	case EncLastRect:
		return false
	case EncDesktopSize:
		if s.size = r.Size(); screen.CheckSize(s.size) != nil {
			s.fail("desktop of %v pixels", s.size)
		}
		return true
	case EncCursor:
		w, h := r.Dx(), r.Dy()
		if w > 256 || h > 256 {
			s.fail("cursor of %v pixels", r.Size())
			return true
		}
		s.copy(int64(w*h*pc.size + (w+7)/8*h))
		return true
	}
	if r.Max.X > s.size.X || r.Max.Y > s.size.Y {
		s.fail("rectangle %v outside of %v", r, s.size)
		return true
	}
	switch enc {
	case EncRaw:
		s.copy(int64(area(r)) * int64(pc.size))
	case EncCopyRect:
		b := s.pass(4)
		be := binary.BigEndian
		if int(be.Uint16(b))+r.Dx() > s.size.X || int(be.Uint16(b[2:]))+r.Dy() > s.size.Y {
			s.fail("copy from outside of %v", s.size)
		}
	case EncZRLE:
		n := int64(binary.BigEndian.Uint32(s.pass(4)))
		if n > maxZRLE(r, pc) {
			s.fail("%d compressed bytes for %v", n, r)
			return true
		}
		s.copy(n)
	case EncTight:
		s.tight(r, pc)
	default:
		s.fail("unknown encoding %d", enc)
	}
	return true
}

func (s *skimmer) tight(r image.Rectangle, pc *pixelCodec) {
	ctl := s.pass(1)[0]
	switch {
	case r.Dx() > tightMaxWidth:
		s.fail("Tight rectangle %d wide", r.Dx())
	case ctl&0xf0 == tightFill:
		s.copy(int64(pc.tsize()))
	case ctl&0xf0 == tightJPEG:
		s.copy(s.compact(tightMaxLen))
	case ctl&0x80 != 0:
		s.fail("Tight control %#x", ctl)
	default:
		filter := byte(tightCopy)
		if ctl&tightFilter != 0 {
			filter = s.pass(1)[0]
		}
		size := area(r) * pc.tsize()
		switch filter {
		case tightCopy, tightGradient:
		case tightPalette:
			n := int(s.pass(1)[0]) + 1
			s.copy(int64(n * pc.tsize()))
			size = area(r)
			if n <= 2 {
				size = (r.Dx() + 7) / 8 * r.Dy()
			}
		default:
			s.fail("Tight filter %d", filter)
		}
		if size < tightMinZlib {
			s.copy(int64(size))
			return
		}
		s.copy(s.compact(size + size/1000 + 4096))
	}
}

// compact copies a compact length and returns it.
func (s *skimmer) compact(most int) int64 {
	n := 0
	for shift := 0; shift <= 14 && s.err == nil; shift += 7 {
		b := int(s.pass(1)[0])
		if shift == 14 {
			n |= b << 14
			break
		}
		n |= b & 0x7f << shift
		if b&0x80 == 0 {
			break
		}
	}
	if n > most {
		s.fail("%d compressed bytes, at most %d fit", n, most)
	}
	return int64(n)
}

func (s *skimmer) fail(format string, args ...any) {
	if s.err == nil {
		s.err = protoErr(format, args...)
	}
}

// take reads n <= 64 bytes; zeros after an error.
func (s *skimmer) take(n int) []byte {
	b := s.b[:n]
	clear(b)
	if s.err == nil {
		if _, err := io.ReadFull(s.r, b); err != nil {
			s.err = unexpected(err)
			clear(b)
		}
	}
	return b
}

// pass reads n <= 64 bytes and writes them on.
func (s *skimmer) pass(n int) []byte {
	b := s.take(n)
	if s.err == nil {
		_, s.err = s.w.Write(b)
	}
	return b
}

func (s *skimmer) put(b byte) {
	if s.err == nil {
		s.err = s.w.WriteByte(b)
	}
}

// copy copies n bytes, and lets the viewer have them while more are awaited.
func (s *skimmer) copy(n int64) {
	for n > 0 && s.err == nil {
		if s.r.Buffered() == 0 {
			if s.err = s.w.Flush(); s.err != nil {
				return
			}
			if _, s.err = s.r.Peek(1); s.err != nil {
				s.err = unexpected(s.err)
				return
			}
		}
		b, _ := s.r.Peek(int(min(n, int64(s.r.Buffered()))))
		if _, s.err = s.w.Write(b); s.err != nil {
			return
		}
		_, s.err = s.r.Discard(len(b))
		n -= int64(len(b))
	}
}

func (s *skimmer) skip(n int64) {
	if s.err == nil {
		if _, err := io.CopyN(io.Discard, s.r, n); err != nil {
			s.err = unexpected(err)
		}
	}
}
