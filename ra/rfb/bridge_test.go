package rfb

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"shipworm/ra/screen"
)

// A span is Serve, a Bridge behind it, and the viewer's end of the Bridge.
type span struct {
	src    *screen.Memory
	viewer net.Conn
	helper net.Conn
	inputs []Input
	bridge chan error
	serve  chan error
}

func newSpan(t *testing.T, size image.Point, name string) *span {
	t.Helper()
	src, err := screen.NewMemory(size)
	if err != nil {
		t.Fatal(err)
	}
	user, helper := net.Pipe()
	local, viewer := net.Pipe()
	s := &span{src: src, viewer: viewer, helper: helper, bridge: make(chan error, 1), serve: make(chan error, 1)}
	go func() { s.serve <- Serve(t.Context(), user, ServerConfig{Source: src, Name: name}) }()
	go func() {
		s.bridge <- Bridge(t.Context(), local, helper, func(msg []byte) error {
			in, err := ParseInput(msg)
			s.inputs = append(s.inputs, in)
			return err
		})
	}()
	return s
}

// The whole way: desktop, Serve, Bridge, viewer. Input goes its own way, and
// cut text goes nowhere. The desktop's name arrives cleaned.
func TestBridge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpan(t, image.Pt(200, 150), "evil\x1b]0;name\n\u202e!")
		s.src.Paint(image.Rect(0, 0, 200, 150), func(f *screen.Frame) { paintPhoto(f, f.Bounds()) })
		if err := Handshake(s.viewer); err != nil {
			t.Fatal(err)
		}
		v, err := NewViewer(s.viewer, ViewerConfig{
			Encodings: []int32{EncTight, EncZRLE, EncQuality0 + 5, EncCursor, EncDesktopSize, EncFence, EncContinuous, -260, -308},
			Format:    &PixelFormat{32, 24, false, 255, 255, 255, 0, 8, 16},
		})
		if err != nil {
			t.Fatal(err)
		}
		if v.Name != "evil]0;name!" {
			t.Errorf("name %q", v.Name)
		}
		go func() {
			for {
				if _, err := v.Next(); err != nil {
					return
				}
			}
		}()
		want := []Input{
			{Kind: KeyInput, Down: true, Keysym: 'a'},
			{Kind: PointerInput, Buttons: 1, X: 7, Y: 9},
			{Kind: KeyInput, Keysym: 'a', Scancode: 30},
		}
		cut := append([]byte{msgClientCutText, 0, 0, 0, 0, 0, 0, 5}, "hello"...)
		extended := append([]byte{msgClientCutText, 0, 0, 0, 0xff, 0xff, 0xff, 0xfc}, 1, 2, 3, 4)
		desktop := append([]byte{msgSetDesktopSize, 0, 1, 0, 1, 0, 1, 0}, make([]byte, 16)...)
		for _, b := range [][]byte{
			want[0].AppendTo(nil), cut, want[1].AppendTo(nil), extended, {msgXvp, 0, 1, 2}, desktop, want[2].AppendTo(nil),
		} {
			if _, err := s.viewer.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if len(s.inputs) != len(want) {
			t.Fatalf("inputs %+v", s.inputs)
		}
		for i := range want {
			if s.inputs[i] != want[i] {
				t.Errorf("input %d: %+v", i, s.inputs[i])
			}
		}
		if err := s.src.Resize(image.Pt(90, 300)); err != nil {
			t.Fatal(err)
		}
		s.src.Paint(image.Rect(0, 0, 90, 300), func(f *screen.Frame) { dots(f, 9) })
		s.src.SetCursor(screen.Cursor{Size: image.Pt(3, 1), Pix: make([]byte, 12)})
		time.Sleep(time.Second)
		synctest.Wait()
		if !bytes.Equal(v.Frame().Pix, s.src.Snapshot().Pix) {
			t.Error("pictures differ")
		}
		if v.Cursor().Size != image.Pt(3, 1) {
			t.Errorf("cursor %+v", v.Cursor())
		}
		s.viewer.Close()
		if err := <-s.bridge; err != nil {
			t.Errorf("Bridge: %v", err)
		}
		s.helper.Close()
		if err := <-s.serve; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// Viewers of the older versions get in as well (RFC 6143, appendix A).
func TestBridgeVersions(t *testing.T) {
	for name, script := range map[string][]struct{ send, want string }{
		"3.8": {{"", version38}, {"RFB 003.008\n", "\x01\x01"}, {"\x01", "\x00\x00\x00\x00"}, {"\x01", "\x00\x40"}},
		"3.7": {{"", version38}, {"RFB 003.007\n", "\x01\x01"}, {"\x01\x00", "\x00\x40"}},
		"3.3": {{"", version38}, {"RFB 003.003\n", "\x00\x00\x00\x01"}, {"\x00", "\x00\x40"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSpan(t, image.Pt(64, 64), "")
				for _, step := range script {
					go io.WriteString(s.viewer, step.send)
					got := make([]byte, len(step.want))
					if _, err := io.ReadFull(s.viewer, got); err != nil || string(got) != step.want {
						t.Fatalf("after %q: %q, %v", step.send, got, err)
					}
				}
				s.viewer.Close()
				if err := <-s.bridge; err != nil {
					t.Error(err)
				}
				s.helper.Close()
				<-s.serve
			})
		})
	}
}

// What a viewer may not do ends its bridge.
func TestBridgeRefuses(t *testing.T) {
	hello := version38 + "\x01\x01"
	for name, sent := range map[string]string{
		"not RFB":             "GET / HTTP/1",
		"another security":    version38 + "\x02",
		"unknown message":     hello + "\x4d",
		"QEMU audio":          hello + "\xff\x01\x00\x00",
		"endless cut text":    hello + "\x06\x00\x00\x00\x7f\xff\xff\xff",
		"late pixel format":   hello + string(UpdateRequest{}.AppendTo(nil)) + string(SetPixelFormat{Native()}.AppendTo(nil)),
		"input that is wrong": hello + string(Input{Kind: KeyInput, Keysym: 1}.AppendTo(nil)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				user, helper := net.Pipe()
				local, viewer := net.Pipe()
				go io.Copy(io.Discard, viewer)
				go io.WriteString(viewer, sent)
				go user.Write(appendServerInit(nil, image.Pt(64, 64), ""))
				go io.Copy(io.Discard, user)
				refused := errors.New("refused")
				err := Bridge(t.Context(), local, helper, func([]byte) error { return refused })
				if !errors.Is(err, ErrProtocol) && !errors.Is(err, refused) {
					t.Errorf("got %v", err)
				}
				user.Close()
				viewer.Close()
			})
		})
	}
}

// a hostile server is stopped at the Bridge, before the browser.
func TestBridgeChecksServer(t *testing.T) {
	header := func(r image.Rectangle, enc int32, more ...byte) []byte {
		return append(appendHeader(appendUpdate(nil, 1), r, enc), more...)
	}
	tile := image.Rect(0, 0, 64, 64)
	for name, wire := range map[string][]byte{
		"outside":            header(image.Rect(1, 0, 65, 1), EncRaw),
		"unknown encoding":   header(tile, 5),
		"unknown message":    {99},
		"colour map":         {msgColourMap, 0, 0, 0, 0, 1},
		"huge desktop":       header(image.Rect(0, 0, 8193, 1), EncDesktopSize),
		"huge cursor":        header(image.Rect(0, 0, 300, 1), EncCursor),
		"ZRLE length":        header(tile, EncZRLE, 0xff, 0xff, 0xff, 0xff),
		"Tight length":       header(tile, EncTight, 0, 0xff, 0xff, 0xff),
		"Tight filter":       header(tile, EncTight, 0x40, 7),
		"Tight control":      header(tile, EncTight, 0xb0),
		"copy from outside":  header(tile, EncCopyRect, 0, 1, 0, 0),
		"fence":              {msgFence, 0, 0, 0, 0, 0, 0, 0, 65},
		"ends in the middle": header(tile, EncRaw, 1, 2, 3),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				user, helper := net.Pipe()
				local, viewer := net.Pipe()
				go io.Copy(io.Discard, viewer)
				go io.WriteString(viewer, version38+"\x01\x01")
				go func() {
					user.Write(append(appendServerInit(nil, tile.Max, ""), wire...))
					if name == "ends in the middle" {
						user.Close()
					}
				}()
				err := Bridge(t.Context(), local, helper, func([]byte) error { return nil })
				if !errors.Is(err, ErrProtocol) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("got %v", err)
				}
				user.Close()
				viewer.Close()
			})
		})
	}
}

// Cut text and bells of the other side do not reach the viewer.
func TestBridgeDropsServerCutText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		user, helper := net.Pipe()
		local, viewer := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- Bridge(ctx, local, helper, func([]byte) error { return nil }) }()
		go io.WriteString(viewer, version38+"\x01\x01")
		wire := appendServerInit(nil, image.Pt(4, 4), "")
		wire = append(wire, msgServerCutText, 0, 0, 0, 0, 0, 0, 3, 'a', 'b', 'c', msgBell, msgEndContinuous)
		go user.Write(wire)
		want := len(version38) + 2 + 4 + len(appendServerInit(nil, image.Point{}, "")) + 1
		got := make([]byte, want)
		if _, err := io.ReadFull(viewer, got); err != nil {
			t.Fatal(err)
		}
		if got[want-1] != msgEndContinuous || bytes.Contains(got, []byte("abc")) {
			t.Errorf("viewer got %q", got)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Bridge: %v", err)
		}
		user.Close()
		viewer.Close()
	})
}

func FuzzBridge(f *testing.F) {
	frame := screen.NewFrame(image.Pt(64, 64))
	dots(frame, 5)
	for _, m := range []method{asRaw, asZRLE, asTight, asJPEG} {
		enc := encoder{pc: newPixelCodec(Native()), quality: 60}
		f.Add(enc.rect(appendUpdate(nil, 1), frame, piece{frame.Bounds(), m}), []byte{})
	}
	f.Add([]byte{msgEndContinuous}, Input{Kind: PointerInput}.AppendTo(nil))
	f.Add(Fence{}.AppendTo(nil), binary.BigEndian.AppendUint32([]byte{msgClientCutText, 0, 0, 0}, 0))
	f.Fuzz(func(t *testing.T, server, viewer []byte) {
		stream := &script{Reader: bytes.NewReader(append(appendServerInit(nil, frame.Size, ""), server...))}
		local := &script{Reader: bytes.NewReader(append([]byte(version38+"\x01\x01"), viewer...))}
		if err := bridge(local, stream, func(msg []byte) error { _, err := ParseInput(msg); return err }); err == nil {
			t.Fatal("ended without a reason")
		}
	})
}

// A script is a stream that says what it has to say and takes everything.
type script struct{ io.Reader }

func (s *script) Write(b []byte) (int, error) { return len(b), nil }
