//go:build lab

package web

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"io"
	"testing"

	cdpinput "github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"shipworm/ra/face"
)

// rfbServer is an RFB 3.8 server of one still picture, just enough for noVNC:
// no security, Raw, one update. seen gets a line for every input event.
type rfbServer struct {
	picture image.Image
	seen    func(string)
}

func (s *rfbServer) serve(rw io.ReadWriteCloser) {
	r := bufio.NewReader(rw)
	w := bufio.NewWriter(rw)
	size := s.picture.Bounds().Size()
	// read returns the next n bytes, or nil when the viewer has gone.
	read := func(n int) []byte {
		w.Flush()
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil
		}
		return b
	}
	w.WriteString("RFB 003.008\n")
	if string(read(12)) != "RFB 003.008\n" {
		return
	}
	w.Write([]byte{1, 1}) // one security type: None
	read(1)
	w.Write([]byte{0, 0, 0, 0}) // SecurityResult: OK
	read(1)                     // ClientInit
	binary.Write(w, binary.BigEndian, []uint16{uint16(size.X), uint16(size.Y)})
	w.Write([]byte{32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0})
	w.Write([]byte("\x00\x00\x00\x04test"))
	sent := false
	for {
		kind := read(1)
		if kind == nil {
			return
		}
		switch kind[0] {
		case 0: // SetPixelFormat: noVNC's own, R G B X bytes, is what update sends
			read(19)
		case 2: // SetEncodings
			read(4 * int(binary.BigEndian.Uint16(read(3)[1:])))
		case 3: // FramebufferUpdateRequest
			read(9)
			if !sent {
				s.update(w, size)
				sent = true
			}
		case 4: // KeyEvent
			b := read(7)
			s.seen(fmt.Sprintf("key %d %#x", b[0], binary.BigEndian.Uint32(b[3:])))
		case 5: // PointerEvent
			b := read(5)
			s.seen(fmt.Sprintf("pointer %d %d,%d", b[0], binary.BigEndian.Uint16(b[1:]), binary.BigEndian.Uint16(b[3:])))
		default:
			s.seen(fmt.Sprintf("message %d", kind[0]))
			return
		}
	}
}

func (s *rfbServer) update(w io.Writer, size image.Point) {
	w.Write([]byte{0, 0, 0, 1})
	binary.Write(w, binary.BigEndian, []uint16{0, 0, uint16(size.X), uint16(size.Y), 0, 0})
	row := make([]byte, 4*size.X)
	for y := range size.Y {
		for x := range size.X {
			c := color.NRGBAModel.Convert(s.picture.At(x, y)).(color.NRGBA)
			copy(row[4*x:], []byte{c.R, c.G, c.B, 0})
		}
		w.Write(row)
	}
}

// quarters is a picture of four colours.
func quarters() *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, 320, 240))
	for y := range 240 {
		for x := range 320 {
			m.SetNRGBA(x, y, [2][2]color.NRGBA{
				{{200, 10, 20, 255}, {10, 180, 30, 255}}, {{20, 40, 220, 255}, {250, 240, 90, 255}},
			}[y/120][x/160])
		}
	}
	return m
}

// The picture arrives in the browser pixel for pixel; input leaves it only
// while control is granted (R-18 is enforced elsewhere; this is the manners of
// the page).
func TestBrowserViewer(t *testing.T) {
	f := newFake(face.Helper, face.Screen)
	f.view.Peer = &face.Peer{Name: "Charles"}
	input := make(chan string, 1000)
	rfb := &rfbServer{picture: quarters(), seen: func(s string) {
		select {
		case input <- s:
		default:
		}
	}}
	f.viewer = rfb.serve
	b := openBrowser(t)
	b.open(serve(t, f))
	b.until(`document.querySelector("#screen canvas")?.width === 320`)
	pixel := func(x, y int) string {
		return fmt.Sprintf(`document.querySelector("#screen canvas").getContext("2d").getImageData(%d, %d, 1, 1).data.join()`, x, y)
	}
	b.until(pixel(80, 60) + ` === "200,10,20,255"`)
	for want, at := range map[string]image.Point{
		"10,180,30,255": {240, 60}, "20,40,220,255": {80, 180}, "250,240,90,255": {240, 180}, "200,10,20,255": {159, 119},
	} {
		if got := b.eval(pixel(at.X, at.Y)); got != want {
			t.Errorf("pixel %v is %s, want %s", at, got, want)
		}
	}

	b.do(chromedp.MouseClickXY(300, 400), chromedp.KeyEvent("a"))
	if len(input) > 0 {
		t.Errorf("input without control: %s", <-input)
	}
	b.click("do-request")
	wait(t, "the request", func() bool { return len(f.taken()) > 0 })
	f.set(func(v *face.View) { v.Requested = true })
	b.until(`document.getElementById("do-request").disabled`)
	f.set(func(v *face.View) { v.State, v.Requested = face.Control, false })
	b.until(`document.activeElement.tagName === "CANVAS"`)
	b.do(chromedp.MouseClickXY(300, 400), chromedp.KeyEvent("a"))
	for _, want := range []string{"pointer 1 ", "pointer 0 ", "key 1 0x61", "key 0 0x61"} {
		expect(t, input, want)
	}
	f.set(func(v *face.View) { v.Paused = true })
	b.until(`document.getElementById("veil").checkVisibility()`)
	for len(input) > 0 {
		<-input
	}
	b.do(chromedp.KeyEvent("b"))
	f.set(func(v *face.View) { v.Paused = false })
	b.until(`!document.getElementById("veil").checkVisibility()`)
	b.do(chromedp.MouseClickXY(310, 400), chromedp.KeyEvent("c"))
	expect(t, input, "key 1 0x63")

	// The way out of the picture by keyboard, with nothing left held down.
	b.key("Control", "ControlLeft", 17, 2)
	expect(t, input, "key 1 0xffe3")
	b.key("c", "KeyC", 67, 1|2)
	expect(t, input, "key 0 0xffe3")
	b.until(`document.activeElement.id === "chat-text"`)
	b.clean()
}

// key holds a key down, as chromedp.KeyEvent cannot.
func (b *browser) key(key, code string, vk, modifiers int64) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, cdpinput.DispatchKeyEvent, cdpinput.DispatchKeyEventParams{
		Type: cdpinput.DispatchKeyEventTypeRawKeyDown, Key: key, Code: code, WindowsVirtualKeyCode: vk, Modifiers: modifiers,
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func expect(t *testing.T, input <-chan string, want string) {
	t.Helper()
	for {
		var got string
		wait(t, want, func() bool {
			select {
			case got = <-input:
				return true
			default:
				return false
			}
		})
		if len(got) >= len(want) && got[:len(want)] == want {
			return
		}
		if got == "key 1 0x62" {
			t.Errorf("a key typed while paused was sent")
		}
	}
}
