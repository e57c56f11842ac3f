package rfb

import (
	"bytes"
	"encoding/hex"
	"errors"
	"image"
	"io"
	"reflect"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Messages as RFC 6143, 7.5, and the community text lay them out.
var clientMessages = []struct {
	name string
	wire string
	want ClientMessage
}{
	{"pixel format", "00 000000 20 18 00 01 00ff 00ff 00ff 10 08 00 000000", SetPixelFormat{Native()}},
	{"16 bits big endian", "00 000000 10 10 01 01 001f 003f 001f 0b 05 00 000000",
		SetPixelFormat{PixelFormat{16, 16, true, 31, 63, 31, 11, 5, 0}}},
	{"encodings", "02 00 0003 00000010 ffffff11 00000000", SetEncodings{[]int32{EncZRLE, EncCursor, EncRaw}}},
	{"no encodings", "02 00 0000", SetEncodings{[]int32{}}},
	{"incremental request", "03 01 0001 0002 0003 0004", UpdateRequest{true, image.Rect(1, 2, 4, 6)}},
	{"full request", "03 00 0000 0000 0500 0320", UpdateRequest{false, image.Rect(0, 0, 1280, 800)}},
	{"continuous on", "96 01 0000 0000 0010 0020", EnableContinuous{true, image.Rect(0, 0, 16, 32)}},
	{"fence", "f8 000000 80000001 02 abcd", Fence{FenceRequest | FenceBlockBefore, []byte{0xab, 0xcd}}},
}

func TestClientMessages(t *testing.T) {
	for _, tt := range clientMessages {
		t.Run(tt.name, func(t *testing.T) {
			wire := unhex(t, tt.wire)
			got, err := ReadClientMessage(bytes.NewReader(wire))
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Fatalf("got %+v, %v; want %+v", got, err, tt.want)
			}
			if b := got.AppendTo(nil); !bytes.Equal(b, wire) {
				t.Fatalf("written as %x", b)
			}
			for n := 1; n < len(wire); n++ {
				if _, err := ReadClientMessage(bytes.NewReader(wire[:n])); !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("cut after %d bytes: %v", n, err)
				}
			}
		})
	}
	if _, err := ReadClientMessage(bytes.NewReader(nil)); err != io.EOF {
		t.Errorf("end of stream: %v", err)
	}
}

// Messages that have no place on the screen stream. R-23: cut text is one.
func TestClientMessagesRefused(t *testing.T) {
	for name, wire := range map[string]string{
		"key event":       "04 01 0000 00000061",
		"pointer event":   "05 01 0001 0002",
		"cut text":        "06 000000 00000001 61",
		"QEMU key":        "ff 00 0001 00000061 0000001e",
		"fixed colours":   "01 00 0000 0000",
		"colour map":      "00 000000 08 08 00 00 0007 0007 0003 00 03 06 000000",
		"24 bits":         "00 000000 18 18 00 01 00ff 00ff 00ff 10 08 00 000000",
		"colour too big":  "00 000000 10 10 00 01 00ff 00ff 00ff 10 08 00 000000",
		"colour overlap":  "00 000000 20 18 00 01 00ff 00ff 00ff 08 08 00 000000",
		"not a mask":      "00 000000 20 18 00 01 00fe 00ff 00ff 10 08 00 000000",
		"many encodings":  "02 00 ffff",
		"long fence":      "f8 000000 80000000 41",
		"unknown message": "7f",
	} {
		t.Run(name, func(t *testing.T) {
			if m, err := ReadClientMessage(bytes.NewReader(unhex(t, wire))); !errors.Is(err, ErrProtocol) {
				t.Fatalf("got %+v, %v", m, err)
			}
		})
	}
}

func TestInput(t *testing.T) {
	for _, tt := range []struct {
		name, wire string
		want       Input
	}{
		{"key down", "04 01 0000 0000ff1b", Input{Kind: KeyInput, Down: true, Keysym: 0xff1b}},
		{"key up", "04 00 0000 00000061", Input{Kind: KeyInput, Keysym: 0x61}},
		{"pointer", "05 05 0102 0304", Input{Kind: PointerInput, Buttons: 5, X: 0x102, Y: 0x304}},
		{"QEMU key", "ff 00 0001 00000061 0000001e", Input{Kind: KeyInput, Down: true, Keysym: 0x61, Scancode: 0x1e}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wire := unhex(t, tt.wire)
			got, err := ParseInput(wire)
			if err != nil || got != tt.want {
				t.Fatalf("got %+v, %v", got, err)
			}
			if b := got.AppendTo(nil); !bytes.Equal(b, wire) {
				t.Fatalf("written as %x", b)
			}
			for n := range wire {
				if _, err := ParseInput(wire[:n]); !errors.Is(err, ErrProtocol) {
					t.Fatalf("%d bytes: %v", n, err)
				}
			}
			if _, err := ParseInput(append(wire, 0)); !errors.Is(err, ErrProtocol) {
				t.Fatalf("one byte more: %v", err)
			}
		})
	}
	for _, wire := range []string{"", "03", "ff01 0000", "06"} {
		if n := InputSize(unhex(t, wire)); n != 0 {
			t.Errorf("%q is input of %d bytes", wire, n)
		}
	}
}

// Compact lengths: 10000 is 90 4E (community text, "Tight Encoding").
func TestCompactLength(t *testing.T) {
	for n, want := range map[int]string{
		0: "00", 127: "7f", 128: "8001", 10000: "904e", 16383: "ff7f", 16384: "808001", tightMaxLen: "ffffff",
	} {
		b := appendCompact(nil, n)
		if hex.EncodeToString(b) != want {
			t.Errorf("%d is written %x, want %s", n, b, want)
		}
		d := newTestDecoder(t, image.Pt(1, 1), Native(), bytes.NewReader(b))
		if got, err := d.compact(); got != n || err != nil {
			t.Errorf("%x is read as %d, %v", b, got, err)
		}
	}
}

// The sizes of CPIXEL and TPIXEL (RFC 6143, 7.7.5; community text), and that a
// pixel survives wherever the format has room for it.
func TestPixelFormats(t *testing.T) {
	for _, tt := range []struct {
		name         string
		f            PixelFormat
		csize, tsize int
		exact        bool
	}{
		{"native", Native(), 3, 3, true},
		{"noVNC", PixelFormat{32, 24, false, 255, 255, 255, 0, 8, 16}, 3, 3, true},
		{"big endian", PixelFormat{32, 24, true, 255, 255, 255, 16, 8, 0}, 3, 3, true},
		{"high bytes", PixelFormat{32, 24, false, 255, 255, 255, 24, 16, 8}, 3, 3, true},
		{"high bytes big endian", PixelFormat{32, 24, true, 255, 255, 255, 8, 16, 24}, 3, 3, true},
		{"depth 32", PixelFormat{32, 32, false, 255, 255, 255, 16, 8, 0}, 4, 4, true},
		{"spread out", PixelFormat{32, 24, false, 255, 255, 255, 24, 8, 0}, 4, 3, true},
		{"30 bits", PixelFormat{32, 30, false, 1023, 1023, 1023, 20, 10, 0}, 4, 4, true},
		{"16 bits", PixelFormat{16, 16, false, 31, 63, 31, 11, 5, 0}, 2, 2, false},
		{"16 bits big endian", PixelFormat{16, 16, true, 31, 63, 31, 11, 5, 0}, 2, 2, false},
		{"8 bits", PixelFormat{8, 8, false, 7, 7, 3, 0, 3, 6}, 1, 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := ParsePixelFormat(tt.f.AppendTo(nil))
			if err != nil || f != tt.f {
				t.Fatalf("parsed %+v, %v", f, err)
			}
			c := newPixelCodec(f)
			if c.csize != tt.csize || c.tsize() != tt.tsize {
				t.Fatalf("CPIXEL %d, TPIXEL %d", c.csize, c.tsize())
			}
			for _, p := range []uint32{0, 0xffffff, 0xff0000, 0xff00, 0xff, 0x123456, 0x808080} {
				want := p
				if !tt.exact {
					want = c.read(c.append(nil, p))
				}
				for _, got := range []uint32{c.read(c.append(nil, p)), c.readC(c.appendC(nil, p)), c.readT(c.appendT(nil, p))} {
					if got != want {
						t.Errorf("%06x came back as %06x", p, got)
					}
				}
			}
			if p := c.read(c.append(nil, 0xffffff)); p != 0xffffff {
				t.Errorf("white came back as %06x", p)
			}
		})
	}
}

func FuzzClientMessage(f *testing.F) {
	for _, tt := range clientMessages {
		f.Add(unhex(f, tt.wire))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ReadClientMessage(bytes.NewReader(b))
		if err != nil {
			return
		}
		again, err := ReadClientMessage(bytes.NewReader(m.AppendTo(nil)))
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Fatalf("%+v came back as %+v, %v", m, again, err)
		}
	})
}

func FuzzInput(f *testing.F) {
	f.Add(unhex(f, "04 01 0000 0000ff1b"))
	f.Add(unhex(f, "05 05 0102 0304"))
	f.Add(unhex(f, "ff 00 0001 00000061 0000001e"))
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := ParseInput(b)
		if err != nil {
			return
		}
		if again, err := ParseInput(in.AppendTo(nil)); err != nil || again != in {
			t.Fatalf("%+v came back as %+v, %v", in, again, err)
		}
	})
}
