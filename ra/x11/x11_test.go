package x11

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"shipworm/internal/leak"

	"github.com/jezek/xgb/xproto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leak.Patient(m)) }

func TestParseName(t *testing.T) {
	for s, want := range map[string]name{
		":0": {"", 0, 0}, ":10.1": {"", 10, 1}, "unix:3": {"unix", 3, 0}, "host:2": {"host", 2, 0}, "::1:4": {"::1", 4, 0},
	} {
		if got, err := parseName(s); err != nil || got != want {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "0", ":", ":x", ":0.", ":0.x", ":-1", ":0.-1", ":59536"} {
		if got, err := parseName(s); !errors.Is(err, ErrDisplay) {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
}

func cookie(family uint16, fields ...string) []byte {
	b := binary.BigEndian.AppendUint16(nil, family)
	for _, f := range fields {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(f))), f...)
	}
	return b
}

func TestFindCookie(t *testing.T) {
	const mit = "MIT-MAGIC-COOKIE-1"
	file := bytes.Join([][]byte{
		cookie(familyLocal, "other", "0", mit, "wrong host"),
		cookie(familyLocal, "here", "1", mit, "wrong display"),
		cookie(familyLocal, "here", "0", "XDM-AUTHORIZATION-1", "wrong protocol"),
		cookie(familyLocal, "here", "0", mit, "right"),
		cookie(0, "\x7f\x00\x00\x01", "7", mit, "internet"),
		cookie(65535, "", "", mit, "wild"),
	}, nil)
	for display, want := range map[string]string{"0": "right", "7": "internet", "8": "wild"} {
		if proto, data := findCookie(bytes.NewReader(file), "here", display); proto != mit || data != want {
			t.Errorf("display %s: %q, %q", display, proto, data)
		}
	}
	for n := range len(file) - 1 {
		findCookie(bytes.NewReader(file[:n]), "here", "9")
	}
	path := filepath.Join(t.TempDir(), "authority")
	if err := os.WriteFile(path, cookie(65535, "", "", mit, "from file"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XAUTHORITY", path)
	if _, data := authority(name{}); data != "from file" {
		t.Errorf("got %q", data)
	}
	t.Setenv("XAUTHORITY", path+".none")
	if proto, data := authority(name{}); proto != "" || data != "" {
		t.Errorf("got %q, %q", proto, data)
	}
}

func TestFormat(t *testing.T) {
	setup := func(depth, bits, pad, order byte, r, g, b uint32, class byte) (format, error) {
		return rootFormat(&xproto.SetupInfo{ImageByteOrder: order,
			PixmapFormats: []xproto.Format{{Depth: 1, BitsPerPixel: 1, ScanlinePad: 32}, {Depth: depth, BitsPerPixel: bits, ScanlinePad: pad}}},
			&xproto.ScreenInfo{RootDepth: depth, RootVisual: 5, AllowedDepths: []xproto.DepthInfo{{Depth: depth,
				Visuals: []xproto.VisualInfo{{VisualId: 5, Class: class, RedMask: r, GreenMask: g, BlueMask: b}}}}})
	}
	for _, tt := range []struct {
		name             string
		depth, bits, pad byte
		order            byte
		r, g, b          uint32
		src              []byte // two pixels: white, then (255, 0, 127 or near)
		want             []byte
	}{
		{"native", 24, 32, 32, 0, 0xff0000, 0xff00, 0xff, []byte{255, 255, 255, 9, 127, 0, 255, 9}, []byte{255, 255, 255, 0, 127, 0, 255, 0}},
		{"big endian", 24, 32, 32, 1, 0xff0000, 0xff00, 0xff, []byte{9, 255, 255, 255, 9, 255, 0, 127}, []byte{255, 255, 255, 0, 127, 0, 255, 0}},
		{"red first", 24, 32, 32, 0, 0xff, 0xff00, 0xff0000, []byte{255, 255, 255, 9, 255, 0, 127, 9}, []byte{255, 255, 255, 0, 127, 0, 255, 0}},
		{"packed", 24, 24, 32, 0, 0xff0000, 0xff00, 0xff, []byte{255, 255, 255, 127, 0, 255, 0, 0}, []byte{255, 255, 255, 0, 127, 0, 255, 0}},
		{"16 bits", 16, 16, 32, 0, 0xf800, 0x7e0, 0x1f, []byte{255, 255, 0x0f, 0xf8}, []byte{255, 255, 255, 0, 123, 0, 255, 0}},
		{"30 bits", 30, 32, 32, 0, 0x3ff00000, 0xffc00, 0x3ff, []byte{255, 255, 255, 63, 255, 1, 0xf0, 0x3f}, []byte{255, 255, 255, 0, 127, 0, 255, 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := setup(tt.depth, tt.bits, tt.pad, tt.order, tt.r, tt.g, tt.b, xproto.VisualClassTrueColor)
			if err != nil {
				t.Fatal(err)
			}
			if f.stride(2) != len(tt.src) {
				t.Fatalf("stride %d", f.stride(2))
			}
			dst := make([]byte, 8)
			f.convert(dst, 8, tt.src, image.Pt(2, 1))
			if !bytes.Equal(dst, tt.want) {
				t.Errorf("got %v", dst)
			}
		})
	}
	if _, err := setup(8, 8, 32, 0, 0, 0, 0, xproto.VisualClassPseudoColor); !errors.Is(err, ErrUnsupported) {
		t.Errorf("palette: %v", err)
	}
}

func TestClearX(t *testing.T) {
	for n := range 6 {
		src := bytes.Repeat([]byte{1, 2, 3, 4}, n)
		dst := make([]byte, len(src))
		clearX(dst, src)
		if want := bytes.Repeat([]byte{1, 2, 3, 0}, n); !bytes.Equal(dst, want) {
			t.Errorf("%d pixels: %v", n, dst)
		}
	}
}

func TestKeymap(t *testing.T) {
	k := Keymap{Min: 8, PerCode: 2, Syms: []uint32{1, 2, 3, 4}}
	if got := k.Code(9); len(got) != 2 || got[0] != 3 {
		t.Errorf("code 9: %v", got)
	}
	for _, code := range []byte{0, 7, 10, 255} {
		if got := k.Code(code); got != nil {
			t.Errorf("code %d: %v", code, got)
		}
	}
}

// devices builds an XIQueryDevice reply.
func devices(names ...string) []byte {
	b := make([]byte, 32)
	b[0] = 1
	le := binary.LittleEndian
	le.PutUint16(b[8:], uint16(len(names)))
	for i, n := range names {
		b = le.AppendUint16(b, uint16(i+2))
		b = append(b, 0, 0, 0, 0)
		b = le.AppendUint16(b, 1)
		b = le.AppendUint16(b, uint16(len(n)))
		b = pad4(append(append(b, 1, 0), n...))
		b = append(b, 0, 0, 2, 0, 0, 0, 0, 0) // a class of two words
	}
	le.PutUint32(b[4:], uint32(len(b)-32)/4)
	return b
}

// server answers a KeyWatch as an X server does, and then sends extra.
func server(t testing.TB, c net.Conn, extra []byte) {
	setup := make([]byte, 32+8+40)
	setup[20], setup[21], setup[26], setup[27] = 1, 1, 8, 9
	head := []byte{1, 0, 11, 0, 0, 0, byte(len(setup) / 4), 0}
	buf := make([]byte, 4096)
	read := func() { c.Read(buf) }
	read()
	c.Write(append(head, setup...))
	read() // QueryExtension
	reply := make([]byte, 32)
	reply[0], reply[8], reply[9] = 1, 1, 131
	c.Write(reply)
	read() // XIQueryVersion
	reply = make([]byte, 32)
	reply[0], reply[8], reply[10] = 1, 2, 2
	c.Write(reply)
	read() // select, devices, map
	c.Write(devices("Virtual core keyboard", "Virtual core XTEST keyboard", "AT keyboard"))
	keymap := make([]byte, 32+8)
	keymap[0], keymap[1], keymap[4] = 1, 1, 2
	binary.LittleEndian.PutUint32(keymap[36:], 0xff1b)
	c.Write(keymap)
	go func() {
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
		}
	}()
	c.Write(extra)
}

func rawPress(code byte, source uint16, flags uint32) []byte {
	b := make([]byte, 32)
	le := binary.LittleEndian
	b[0], b[1] = eventGeneric, 131
	le.PutUint16(b[8:], xiRawPress)
	b[16] = code
	le.PutUint16(b[20:], source)
	le.PutUint32(b[24:], flags)
	return b
}

func watch(t testing.TB, extra []byte, on KeyEvents) (*KeyWatch, error) {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { theirs.Close() })
	go func() { server(t, theirs, extra); theirs.Close() }()
	w := &KeyWatch{sock: ours, done: make(chan struct{}), on: on}
	ours.SetDeadline(time.Now().Add(time.Minute))
	if err := w.start(setupRequest("", ""), 0); err != nil {
		ours.Close()
		return nil, err
	}
	go w.loop()
	return w, nil
}

func TestKeyWatch(t *testing.T) {
	type press struct {
		code byte
		fake bool
	}
	var got []press
	maps := 0
	ended := make(chan error, 1)
	w, err := watch(t, bytes.Join([][]byte{
		rawPress(9, 3, 0), rawPress(9, 4, 0), rawPress(9, 4, xiKeyRepeat),
	}, nil), KeyEvents{
		Press: func(code byte, fake bool) { got = append(got, press{code, fake}) },
		Map: func(k Keymap) {
			if maps++; k.Code(9)[0] != 0xff1b {
				t.Errorf("map %+v", k)
			}
		},
		Ended: func(err error) { ended <- err },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("ended without a reason")
	}
	w.Close()
	if len(got) != 2 || got[0] != (press{9, true}) || got[1] != (press{9, false}) || maps != 1 {
		t.Errorf("presses %v, %d maps", got, maps)
	}
}

func TestParseDevices(t *testing.T) {
	b := devices("a", "Virtual core XTEST keyboard", "Virtual core XTEST pointer", "second XTEST keyboard")
	fakes, err := parseDevices(b)
	if err != nil || len(fakes) != 2 || !fakes[3] || !fakes[5] {
		t.Errorf("%v, %v", fakes, err)
	}
	for n := 32; n < len(b); n++ {
		if _, err := parseDevices(b[:n]); err == nil && n < len(b)-8 {
			t.Errorf("cut to %d bytes: no error", n)
		}
	}
}

// What an X server sends, however malformed, ends the watch with an error and
// nothing worse.
func FuzzKeyWatch(f *testing.F) {
	f.Add(rawPress(9, 4, 0))
	f.Add(devices("AT keyboard"))
	f.Add([]byte{eventMapping})
	f.Add(bytes.Repeat([]byte{eventGeneric, 131, 0, 0, 0, 0, 0, 0, xiHierarchy, 0, 0, 0}, 8))
	f.Fuzz(func(t *testing.T, b []byte) {
		w := &KeyWatch{major: 131, lo: 8, hi: 255, asked: []byte{xiQueryDevice, reqGetKeyboardMapping}}
		w.sock = feed{Reader: bytes.NewReader(b)}
		for w.step() == nil {
		}
	})
}

func FuzzSetup(f *testing.F) {
	f.Add(append([]byte{1, 0, 11, 0, 0, 0, 20, 0}, make([]byte, 80)...))
	f.Add([]byte{0, 3, 11, 0, 0, 0, 1, 0, 'N', 'o', '!', 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		w := &KeyWatch{sock: feed{Reader: bytes.NewReader(b)}}
		if err := w.readSetup(1); err == nil && len(b) < 8+32+40 {
			t.Fatal("a setup without a second screen was taken")
		}
	})
}

// A feed is a connection that gives what it has and takes everything.
type feed struct {
	net.Conn
	Reader *bytes.Reader
}

func (f feed) Read(b []byte) (int, error)  { return f.Reader.Read(b) }
func (f feed) Write(b []byte) (int, error) { return len(b), nil }
func (f feed) Close() error                { return nil }

func TestRefusedSetup(t *testing.T) {
	w := &KeyWatch{sock: feed{Reader: bytes.NewReader([]byte{0, 3, 11, 0, 0, 0, 1, 0, 'N', 'o', '!', 0})}}
	if err := w.readSetup(0); !errors.Is(err, ErrDisplay) || !strings.Contains(err.Error(), "No!") {
		t.Errorf("got %v", err)
	}
}
