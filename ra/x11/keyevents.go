package x11

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// step reads one message and acts on it.
func (w *KeyWatch) step() error {
	b, err := w.read()
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	switch b[0] & 0x7f {
	case 0:
		return fmt.Errorf("x11: error %d of request %d.%d", b[1], b[10], b[8])
	case 1:
		if len(w.asked) == 0 {
			return errProtocol
		}
		kind := w.asked[0]
		w.asked = w.asked[1:]
		if kind == xiQueryDevice {
			w.fakes, err = parseDevices(b)
			return err
		}
		w.mapped(b)
	case eventMapping:
		w.ask(reqGetKeyboardMapping)
	case eventGeneric:
		if b[1] != w.major {
			break
		}
		switch le.Uint16(b[8:]) {
		case xiHierarchy:
			w.ask(xiQueryDevice)
		case xiRawPress:
			if len(b) < 32 {
				return errProtocol
			}
			w.press(le.Uint32(b[16:]), le.Uint16(b[20:]), le.Uint32(b[24:]))
		}
	}
	return w.flush()
}

func (w *KeyWatch) press(code uint32, source uint16, flags uint32) {
	if code > 255 || flags&xiKeyRepeat != 0 || w.on.Press == nil {
		return
	}
	w.on.Press(byte(code), w.fakes[source])
}

func (w *KeyWatch) mapped(b []byte) {
	k := Keymap{Min: w.lo, PerCode: int(b[1])}
	for s := b[32:]; len(s) >= 4; s = s[4:] {
		k.Syms = append(k.Syms, binary.LittleEndian.Uint32(s))
	}
	if w.on.Map != nil {
		w.on.Map(k)
	}
}

// parseDevices finds the XTEST keyboards in an XIQueryDevice reply (XI 2.2,
// "XIQueryDevice"). The server makes one for each master keyboard and names it
// so; the name is the server's, a client cannot choose it.
func parseDevices(b []byte) (map[uint16]bool, error) {
	le := binary.LittleEndian
	fakes := make(map[uint16]bool)
	n := int(le.Uint16(b[8:]))
	at := 32
	for range n {
		if at+12 > len(b) {
			return nil, errProtocol
		}
		id, classes, nameLen := le.Uint16(b[at:]), int(le.Uint16(b[at+6:])), int(le.Uint16(b[at+8:]))
		at += 12
		if at+nameLen > len(b) {
			return nil, errProtocol
		}
		if strings.HasSuffix(string(b[at:at+nameLen]), " XTEST keyboard") {
			fakes[id] = true
		}
		at += (nameLen + 3) / 4 * 4
		for range classes {
			if at+4 > len(b) {
				return nil, errProtocol
			}
			size := 4 * int(le.Uint16(b[at+2:]))
			if size == 0 {
				return nil, errProtocol
			}
			at += size
		}
	}
	return fakes, nil
}

// request builds a request: code, a data byte (or minor code), the length in
// 4-byte units, the fields, padding.
func request(code, data byte, fields ...[]byte) []byte {
	b := []byte{code, data, 0, 0}
	for _, f := range fields {
		b = append(b, f...)
	}
	b = pad4(b)
	binary.LittleEndian.PutUint16(b[2:], uint16(len(b)/4))
	return b
}

func u16(v uint16) []byte { return binary.LittleEndian.AppendUint16(nil, v) }
func u32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
