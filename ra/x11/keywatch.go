package x11

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// KeyEvents receives what a KeyWatch sees, from one goroutine. The functions
// must not block and must not call Close.
type KeyEvents struct {
	// Press is called for every key press. fake is set if it came from the
	// server's XTEST keyboard: made by a program, ours or another.
	Press func(code byte, fake bool)
	// Map is called with the keyboard map before any Press, and again when
	// somebody changed it.
	Map func(Keymap)
	// Ended is called once, when no more presses can be seen: with
	// net.ErrClosed after Close, or the failure.
	Ended func(error)
}

// A KeyWatch sees every key press on the display, whatever has the focus and
// whoever holds a grab, by XInput 2 raw events. The library cannot read those
// (they are longer than 32 bytes), so the watch speaks on a connection of its
// own.
type KeyWatch struct {
	sock   net.Conn
	done   chan struct{}
	on     KeyEvents
	root   uint32
	major  byte // request code of XInputExtension
	lo, hi byte // keycodes

	fakes map[uint16]bool // device ids of XTEST keyboards
	asked []byte          // kinds of outstanding answers, in order; see ask
	out   []byte

	mu     sync.Mutex
	closed bool
}

// Requests of a KeyWatch (X protocol, appendix B; XI 2.2).
const (
	reqQueryExtension     = 98
	reqGetKeyboardMapping = 101
	xiSelectEvents        = 46
	xiQueryVersion        = 47
	xiQueryDevice         = 48

	eventMapping = 34
	eventGeneric = 35
	xiHierarchy  = 11
	xiRawPress   = 13

	xiAllDevices = 0
	xiAllMasters = 1
	xiKeyRepeat  = 1 << 16

	// maxMessage bounds one message of the server. A device list has some
	// kilobytes.
	maxMessage = 1 << 20
	// maxAsked bounds the questions under way; a further change of map or
	// devices is covered by the question not yet answered.
	maxAsked = 4
)

var errProtocol = errors.New("x11: malformed message")

// WatchKeys connects to display ("" = $DISPLAY). When it returns, every later
// press is seen.
func WatchKeys(display string, on KeyEvents) (*KeyWatch, error) {
	sock, setup, screen, err := dial(display)
	if err != nil {
		return nil, err
	}
	w := &KeyWatch{sock: sock, done: make(chan struct{}), on: on}
	_ = sock.SetDeadline(time.Now().Add(dialTimeout))
	if err := w.start(setup, screen); err != nil {
		sock.Close()
		return nil, err
	}
	_ = sock.SetDeadline(time.Time{})
	go w.loop()
	return w, nil
}

// Close ends the watch and waits for its goroutine.
func (w *KeyWatch) Close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.sock.Close()
	<-w.done
	return nil
}

func (w *KeyWatch) start(setup []byte, screen int) error {
	if _, err := w.sock.Write(setup); err != nil {
		return fmt.Errorf("%w: %w", ErrDisplay, err)
	}
	if err := w.readSetup(screen); err != nil {
		return err
	}
	const ext = "XInputExtension"
	reply, err := w.roundTrip(request(reqQueryExtension, 0, u16(uint16(len(ext))), u16(0), []byte(ext)))
	if err != nil {
		return err
	}
	if reply[8] == 0 {
		return fmt.Errorf("%w: extension %s is missing", ErrUnsupported, ext)
	}
	w.major = reply[9]
	// Raw events ignore grabs from 2.1 on; a full-screen game or an open menu
	// must not hide the Esc key.
	if reply, err = w.roundTrip(request(w.major, xiQueryVersion, u16(2), u16(2))); err != nil {
		return err
	}
	le := binary.LittleEndian
	if major, minor := le.Uint16(reply[8:]), le.Uint16(reply[10:]); major < 2 || major == 2 && minor < 1 {
		return fmt.Errorf("%w: XInput %d.%d, need 2.1", ErrUnsupported, major, minor)
	}
	masks := append(append(u16(xiAllDevices), u16(1)...), u32(1<<xiHierarchy)...)
	masks = append(append(append(masks, u16(xiAllMasters)...), u16(1)...), u32(1<<xiRawPress)...)
	w.out = append(w.out, request(w.major, xiSelectEvents, u32(w.root), u16(2), u16(0), masks)...)
	w.ask(xiQueryDevice)
	w.ask(reqGetKeyboardMapping)
	if err := w.flush(); err != nil {
		return err
	}
	for len(w.asked) > 0 {
		if err := w.step(); err != nil {
			return err
		}
	}
	return nil
}

// readSetup reads the server's half of the connection setup.
func (w *KeyWatch) readSetup(screen int) error {
	head := make([]byte, 8)
	if _, err := io.ReadFull(w.sock, head); err != nil {
		return fmt.Errorf("%w: %w", ErrDisplay, err)
	}
	le := binary.LittleEndian
	b := make([]byte, 4*int(le.Uint16(head[6:])))
	if _, err := io.ReadFull(w.sock, b); err != nil {
		return fmt.Errorf("%w: %w", ErrDisplay, err)
	}
	if head[0] != 1 {
		reason := b[:min(len(b), int(head[1]))]
		return fmt.Errorf("%w: refused: %s", ErrDisplay, strings.TrimSpace(string(reason)))
	}
	if len(b) < 32 {
		return errProtocol
	}
	w.lo, w.hi = b[26], b[27]
	roots, formats := int(b[20]), int(b[21])
	at := 32 + (int(le.Uint16(b[16:]))+3)/4*4 + 8*formats
	for i := 0; i < roots && at+40 <= len(b); i++ {
		if i == screen {
			w.root = le.Uint32(b[at:])
			return nil
		}
		depths := int(b[at+39])
		for at += 40; depths > 0 && at+8 <= len(b); depths-- {
			at += 8 + 24*int(le.Uint16(b[at+2:]))
		}
	}
	return fmt.Errorf("%w: no screen %d", ErrDisplay, screen)
}

// ask queues a question whose answer step handles. Answers come in order.
func (w *KeyWatch) ask(kind byte) {
	if len(w.asked) >= maxAsked {
		return
	}
	w.asked = append(w.asked, kind)
	if kind == xiQueryDevice {
		w.out = append(w.out, request(w.major, xiQueryDevice, u16(xiAllDevices), u16(0))...)
		return
	}
	w.out = append(w.out, request(reqGetKeyboardMapping, 0, []byte{w.lo, w.hi - w.lo + 1, 0, 0})...)
}

func (w *KeyWatch) flush() error {
	b := w.out
	w.out = nil
	if len(b) == 0 {
		return nil
	}
	_, err := w.sock.Write(b)
	return err
}

func (w *KeyWatch) loop() {
	defer close(w.done)
	err := w.step()
	for err == nil {
		err = w.step()
	}
	w.sock.Close()
	w.mu.Lock()
	if w.closed {
		err = net.ErrClosed
	}
	w.mu.Unlock()
	if w.on.Ended != nil {
		w.on.Ended(err)
	}
}

func (w *KeyWatch) roundTrip(req []byte) ([]byte, error) {
	if _, err := w.sock.Write(req); err != nil {
		return nil, err
	}
	for {
		b, err := w.read()
		if err != nil {
			return nil, err
		}
		switch b[0] {
		case 0:
			return nil, fmt.Errorf("x11: error %d of request %d.%d", b[1], b[10], b[8])
		case 1:
			return b, nil
		}
	}
}

// read returns one message of the server: 32 bytes, and what a reply or a
// generic event has beyond them.
func (w *KeyWatch) read() ([]byte, error) {
	b := make([]byte, 32)
	if _, err := io.ReadFull(w.sock, b); err != nil {
		return nil, err
	}
	if b[0] != 1 && b[0]&0x7f != eventGeneric {
		return b, nil
	}
	more := uint64(binary.LittleEndian.Uint32(b[4:])) * 4
	if more > maxMessage {
		return nil, errProtocol
	}
	b = append(b, make([]byte, more)...)
	_, err := io.ReadFull(w.sock, b[32:])
	return b, err
}
