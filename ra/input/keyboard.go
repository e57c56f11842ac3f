package input

import (
	"fmt"
	"image"
	"slices"

	"shipworm/ra/x11"
)

// A display is what a keyboard needs of an X server; x11.Input is one.
type display interface {
	Keymap() (x11.Keymap, error)
	Modifiers() (x11.Modifiers, error)
	MapChanged() bool
	SetKey(code byte, plain, shifted uint32) error
	State() (uint16, error)
	Key(code byte, down bool) error
	Button(n byte, down bool) error
	Move(p image.Point) error
	Sync() error
	Size() image.Point
	Close() error
}

// Bits of a modifier state (X protocol, "SETofKEYBUTMASK").
const (
	maskShift   = 1 << 0
	maskLock    = 1 << 1
	maskControl = 1 << 2
	maskAlt     = 1 << 3 // Mod1
)

// A keyboard finds keys for keysyms and presses them so that the keysym is
// what comes out. It is not safe for concurrent use.
type keyboard struct {
	d     display
	wrote func(code byte) // called before a key is pressed

	km      x11.Keymap
	mods    x11.Modifiers
	numLock uint16 // masks of the modifiers, 0 if there is none
	level3  uint16
	shift   byte // keys that set them, 0 if there is none
	third   byte

	held   map[uint32]byte // modifier -> keycode that we hold down
	spares []spare
	uses   uint64
}

// A spare is a keycode without a key on the keyboard; it is given the keysyms
// that the keyboard does not have. With many spares and the oldest taken
// first, a program that is slow to notice a change still reads the right one.
type spare struct {
	code         byte
	lower, upper uint32 // 0: free
	used         uint64
}

func newKeyboard(d display) (*keyboard, error) {
	k := &keyboard{d: d, wrote: func(byte) {}, held: make(map[uint32]byte)}
	if err := k.load(); err != nil {
		return nil, err
	}
	for code := int(k.km.Min); code <= 255; code++ {
		row := k.km.Code(byte(code))
		if row != nil && !slices.ContainsFunc(row, func(s uint32) bool { return s != 0 }) {
			k.spares = append(k.spares, spare{code: byte(code)})
		}
	}
	return k, nil
}

// load reads the keyboard map.
func (k *keyboard) load() error {
	var err error
	if k.km, err = k.d.Keymap(); err != nil {
		return err
	}
	if k.mods, err = k.d.Modifiers(); err != nil {
		return err
	}
	k.numLock, k.level3, k.shift, k.third = 0, 0, 0, 0
	for i, codes := range k.mods {
		for _, code := range codes {
			row := k.km.Code(code)
			switch {
			case i == 0 && k.shift == 0:
				k.shift = code
			case slices.Contains(row, symNumLock):
				k.numLock = 1 << i
			case slices.Contains(row, symLevel3):
				k.level3, k.third = 1<<i, code
			}
		}
	}
	// Somebody may have taken a spare, or loaded another map over it.
	for i := range k.spares {
		s := &k.spares[i]
		if row := k.km.Code(s.code); s.lower != 0 && (len(row) < 2 || row[0] != s.lower || row[1] != s.upper && row[1] != 0) {
			s.lower, s.upper = 0, 0
		}
	}
	return nil
}

// A way is how a keysym is reached: a key, and the level on it: bit 0 Shift,
// bit 1 the third level.
type way struct {
	code  byte
	level int
}

// column returns where the core map has a group's level: the second group
// stands between the levels of the first.
func column(group, level int) int { return group*2 + level&1 + level>>1*4 }

// find returns the best way to a keysym in the group: the level that is set
// already, or else the lowest.
func (k *keyboard) find(sym uint32, group int, state uint16) (way, bool) {
	now := int(state & maskShift)
	if state&k.level3 != 0 {
		now |= 2
	}
	for _, level := range [...]int{now, 0, 1, 2, 3} {
		for code := int(k.km.Min); code <= 255; code++ {
			row := k.km.Code(byte(code))
			if row == nil {
				break
			}
			if at(row, group, level) == sym {
				return way{byte(code), level}, true
			}
		}
	}
	return way{}, false
}

func at(row []uint32, group, level int) uint32 {
	i := column(group, level)
	if i >= len(row) {
		return 0
	}
	if row[i] == 0 && level == 1 { // one keysym alone stands for both levels
		_, upper := cases(row[i-1])
		return upper
	}
	return row[i]
}

// press makes the key press that yields sym. A modifier stays down until it is
// released. Every other key goes up at once, as often as the viewer repeats it:
// down for as long as the Helper's finger, a release that is late, on the line
// or because a machine stands still, would have the display repeat the key
// (after 660 ms), and make of one letter many.
func (k *keyboard) press(sym uint32) error {
	if !Allowed(sym) {
		return fmt.Errorf("%w: keysym %#x", ErrKey, sym)
	}
	if k.d.MapChanged() {
		if err := k.load(); err != nil {
			return err
		}
	}
	state, err := k.d.State()
	if err != nil {
		return err
	}
	if leaves(sym, state) {
		return fmt.Errorf("%w: keysym %#x with Ctrl+Alt", ErrKey, sym)
	}
	if _, ok := k.held[sym]; ok {
		return nil
	}
	group := int(state >> 13 & 3)
	w, ok := k.find(sym, min(group, 1), state)
	if !ok || group > 1 {
		if w, err = k.borrow(sym); err != nil {
			return err
		}
	}
	for other, code := range k.held {
		if code == w.code { // another modifier on the same key
			if err := k.release(other); err != nil {
				return err
			}
		}
	}
	undo, err := k.adjust(sym, w, state)
	if err != nil {
		return err
	}
	k.wrote(w.code)
	if err := k.d.Key(w.code, true); err != nil {
		return err
	}
	if isModifier(sym) {
		k.held[sym] = w.code
	} else if err := k.d.Key(w.code, false); err != nil {
		return err
	}
	return undo()
}

// leaves reports whether a key would leave the desktop: change to another
// virtual terminal, end the X server or the desktop session, reach the kernel.
func leaves(sym uint32, state uint16) bool {
	if sym == symPrint && state&maskAlt != 0 {
		return true
	}
	return state&maskControl != 0 && state&maskAlt != 0 &&
		(sym >= symF1 && sym <= symF12 || sym == symBackSpace || sym == symDelete || sym == 0xff9f)
}

// adjust brings Shift and the third level into the state that the way needs,
// whatever the Helper holds on his keyboard, and returns how to go back.
func (k *keyboard) adjust(sym uint32, w way, state uint16) (undo func() error, err error) {
	undo = func() error { return nil }
	if !isCharacter(sym) { // Shift+Tab, Shift+Left: the Helper means it
		return undo, nil
	}
	shift := w.level&1 != 0
	if lower, upper := cases(sym); lower != upper && state&maskLock != 0 {
		shift = !shift
	}
	if isKeypad(sym) && k.numLock != 0 && state&k.numLock != 0 {
		shift = !shift
	}
	var back []func() error
	set := func(want bool, mask uint16, code byte) {
		if err != nil || mask == 0 || want == (state&mask != 0) {
			return
		}
		if want {
			if code == 0 {
				return
			}
			k.wrote(code)
			err = k.d.Key(code, true)
			back = append(back, func() error { return k.d.Key(code, false) })
			return
		}
		for sym, held := range k.held {
			if isModifier(sym) && slices.Contains(k.setters(mask), held) {
				err = k.d.Key(held, false)
				back = append(back, func() error { k.wrote(held); return k.d.Key(held, true) })
			}
		}
	}
	set(shift, maskShift, k.shift)
	set(w.level&2 != 0, k.level3, k.third)
	return func() error {
		for _, f := range slices.Backward(back) {
			if err := f(); err != nil {
				return err
			}
		}
		return nil
	}, err
}

func (k *keyboard) setters(mask uint16) []byte {
	for i, codes := range k.mods {
		if mask == 1<<i {
			return codes
		}
	}
	return nil
}

// borrow gives a keysym that the keyboard does not have to a spare key.
func (k *keyboard) borrow(sym uint32) (way, error) {
	lower, upper := cases(sym)
	level := 0
	if sym == upper && lower != upper {
		level = 1
	}
	k.uses++
	var oldest *spare
	for i := range k.spares {
		s := &k.spares[i]
		if s.lower == lower && s.upper == upper {
			s.used = k.uses
			return way{s.code, level}, nil
		}
		if !k.holds(s.code) && (oldest == nil || s.used < oldest.used) {
			oldest = s
		}
	}
	if oldest == nil {
		return way{}, fmt.Errorf("%w: keysym %#x is on no key, and no key is free", ErrKey, sym)
	}
	if err := k.d.SetKey(oldest.code, lower, upper); err != nil {
		return way{}, err
	}
	*oldest = spare{oldest.code, lower, upper, k.uses}
	return way{oldest.code, level}, nil
}

func (k *keyboard) holds(code byte) bool {
	for _, c := range k.held {
		if c == code {
			return true
		}
	}
	return false
}

// release lets go of a modifier, and does nothing for what is not held.
func (k *keyboard) release(sym uint32) error {
	code, ok := k.held[sym]
	if !ok {
		return nil
	}
	delete(k.held, sym)
	return k.d.Key(code, false)
}

// clear lets go of every modifier.
func (k *keyboard) clear() error {
	var first error
	for sym, code := range k.held {
		if err := k.d.Key(code, false); err != nil && first == nil {
			first = err
		}
		delete(k.held, sym)
	}
	return first
}

// giveBack frees the spares that were borrowed.
func (k *keyboard) giveBack() error {
	for i := range k.spares {
		if s := &k.spares[i]; s.lower != 0 {
			if err := k.d.SetKey(s.code, 0, 0); err != nil {
				return err
			}
			s.lower, s.upper = 0, 0
		}
	}
	return nil
}
