package rfb

import (
	"encoding/binary"
	"fmt"
	"image"
	"io"
)

// A ViewerConfig configures NewViewer.
type ViewerConfig struct {
	// Encodings to offer, best first; nil offers ZRLE and every
	// pseudo-encoding that Viewer understands.
	Encodings []int32
	// Format of the pixels; nil takes the server's.
	Format *PixelFormat
	// Continuous asks for continuous updates if the server has them; otherwise
	// every update is requested.
	Continuous bool
}

// A Viewer is a Decoder that also plays the client's half: it requests updates
// and answers fences. It is not safe for concurrent use.
type Viewer struct {
	*Decoder
	w          io.Writer
	cfg        ViewerConfig
	continuous bool
}

// Handshake plays the client of RFB 3.8 without security up to ClientInit, as
// Bridge expects it (RFC 6143, 7.1 to 7.3). The screen stream has none of it.
func Handshake(rw io.ReadWriter) error {
	b := make([]byte, 12)
	if _, err := io.ReadFull(rw, b); err != nil {
		return err
	}
	if string(b) != version38 {
		return protoErr("version %q", b)
	}
	if _, err := io.WriteString(rw, version38); err != nil {
		return err
	}
	if _, err := io.ReadFull(rw, b[:1]); err != nil {
		return err
	}
	types := make([]byte, b[0])
	if _, err := io.ReadFull(rw, types); err != nil {
		return err
	}
	if len(types) != 1 || types[0] != securityNone {
		return protoErr("security types %v", types)
	}
	if _, err := rw.Write([]byte{securityNone}); err != nil {
		return err
	}
	if _, err := io.ReadFull(rw, b[:4]); err != nil {
		return err
	}
	if n := binary.BigEndian.Uint32(b); n != 0 {
		return protoErr("security result %d", n)
	}
	_, err := rw.Write([]byte{1})
	return err
}

// NewViewer reads ServerInit from rw, sets up and requests the whole desktop.
func NewViewer(rw io.ReadWriter, cfg ViewerConfig) (*Viewer, error) {
	d, err := NewDecoder(rw)
	if err != nil {
		return nil, fmt.Errorf("rfb: ServerInit: %w", err)
	}
	if cfg.Encodings == nil {
		cfg.Encodings = []int32{EncZRLE, EncTight, EncRaw, EncCursor, EncDesktopSize, EncFence, EncContinuous}
	}
	v := &Viewer{Decoder: d, w: rw, cfg: cfg}
	var b []byte
	if cfg.Format != nil {
		d.SetFormat(*cfg.Format)
		b = SetPixelFormat{*cfg.Format}.AppendTo(b)
	}
	b = SetEncodings{cfg.Encodings}.AppendTo(b)
	b = UpdateRequest{Rect: d.Frame().Bounds()}.AppendTo(b)
	_, err = rw.Write(b)
	return v, err
}

// Next reads one message and sends what has to be sent in return.
func (v *Viewer) Next() (ServerEvent, error) {
	ev, err := v.Decoder.Next()
	if err != nil {
		return ev, err
	}
	whole := v.Frame().Bounds()
	switch {
	case ev == FenceReceived && v.LastFence().Flags&FenceRequest != 0:
		f := v.LastFence()
		f.Flags &= FenceBlockBefore | FenceBlockAfter
		return ev, v.send(f)
	case ev == EndContinuous && v.cfg.Continuous && !v.continuous:
		v.continuous = true
		return ev, v.send(EnableContinuous{On: true, Rect: whole})
	case ev == Resized && v.continuous:
		return ev, v.send(EnableContinuous{On: true, Rect: whole})
	case ev == Resized:
		return ev, v.Request(false, whole)
	case ev == Updated && !v.continuous:
		return ev, v.Request(true, whole)
	}
	return ev, nil
}

// Request sends one FramebufferUpdateRequest.
func (v *Viewer) Request(incremental bool, r image.Rectangle) error {
	return v.send(UpdateRequest{Incremental: incremental, Rect: r})
}

func (v *Viewer) send(m ClientMessage) error {
	_, err := v.w.Write(m.AppendTo(nil))
	return err
}
