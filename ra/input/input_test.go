package input

import (
	"errors"
	"image"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"shipworm/internal/leak"
	"shipworm/ra/rfb"
	"shipworm/ra/x11"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leak.Patient(m)) }

// A board is an X display's keyboard and pointer in memory: it turns key
// presses into keysyms by the rules of the X protocol, chapter 5.
type board struct {
	rows    map[byte][]uint32
	mods    x11.Modifiers
	locked  uint16
	down    map[byte]bool
	buttons map[byte]bool
	at      image.Point
	typed   []uint32
	states  []uint16
	presses []byte
	changed bool
	sets    int
	closed  bool
}

const (
	codeShift, codeCtrl, codeLevel3, codeAlt, codeNum = 50, 37, 108, 64, 77
)

func newBoard(rows string) *board {
	b := &board{rows: make(map[byte][]uint32), down: make(map[byte]bool), buttons: make(map[byte]bool)}
	code := byte(10)
	for row := range strings.FieldsSeq(rows) {
		r := []rune(row)
		line := make([]uint32, 6)
		for i, c := range r {
			line[[]int{0, 1, 4, 5}[i]] = symOf(c)
		}
		line[2], line[3] = line[0], line[1] // one group stands for both
		b.rows[code] = line
		code++
	}
	for code, sym := range map[byte]uint32{codeShift: symShiftL, codeCtrl: 0xffe3, codeLevel3: symLevel3, codeAlt: 0xffe9,
		codeNum: symNumLock, 9: symEscape, 22: symBackSpace, 23: 0xff09, 36: 0xff0d, 65: ' ', 67: symF1, 113: 0xff51} {
		b.rows[code] = []uint32{sym, 0, sym, 0, 0, 0}
	}
	b.rows[87] = []uint32{0xff9c, 0xffb1, 0xff9c, 0xffb1, 0, 0} // keypad End, 1
	b.mods = x11.Modifiers{{codeShift}, {66}, {codeCtrl}, {codeAlt}, {codeNum}, nil, nil, {codeLevel3}}
	return b
}

var (
	us = "1! 2@ 3# 4$ 5% 7& qQ eE rR tT yY aA sS zZ -_ =+ [{ ;: ,<"
	de = "1! 2\" 3§³ 7/{ 8([ 0=} qQ@ eE€ rR aAæ sS zZ ßẞ\\ öÖ -_ ,; .:"
)

func (b *board) Keymap() (x11.Keymap, error) {
	k := x11.Keymap{Min: 8, PerCode: 6}
	for code := 8; code < 256; code++ {
		row := b.rows[byte(code)]
		for len(row) < 6 {
			row = append(row, 0)
		}
		k.Syms = append(k.Syms, row[:6]...)
	}
	return k, nil
}

func (b *board) Modifiers() (x11.Modifiers, error) { return b.mods, nil }
func (b *board) MapChanged() bool                  { c := b.changed; b.changed = false; return c }

func (b *board) SetKey(code byte, plain, shifted uint32) error {
	b.rows[code] = []uint32{plain, shifted, plain, shifted, 0, 0}
	b.changed = true
	b.sets++
	return nil
}

func (b *board) State() (uint16, error) {
	state := b.locked
	for i, codes := range b.mods {
		for _, c := range codes {
			if b.down[c] {
				state |= 1 << i
			}
		}
	}
	return state, nil
}

func (b *board) Key(code byte, down bool) error {
	if !down && !b.down[code] {
		return errors.New("released a key that is not down")
	}
	b.down[code] = down
	if !down {
		return nil
	}
	b.presses = append(b.presses, code)
	state, _ := b.State()
	row := b.rows[code]
	level := int(state & maskShift)
	if state&(1<<7) != 0 && len(row) > 4 && row[4] != 0 {
		level |= 2
	}
	if lower, upper := cases(row[column(0, level&^1)]); lower != upper && state&maskLock != 0 ||
		isKeypad(row[0]) && state&(1<<4) != 0 {
		level ^= 1
	}
	sym := at(row, 0, level)
	if !isModifier(sym) {
		b.typed = append(b.typed, sym)
		b.states = append(b.states, state)
	}
	return nil
}

func (b *board) Button(n byte, down bool) error { b.buttons[n] = down; return nil }
func (b *board) Move(p image.Point) error       { b.at = p; return nil }
func (b *board) Sync() error                    { return nil }
func (b *board) Size() image.Point              { return image.Pt(1280, 800) }
func (b *board) Close() error                   { b.closed = true; return nil }

func (b *board) text() string {
	var s strings.Builder
	for _, sym := range b.typed {
		if sym >= symUnicode {
			sym -= symUnicode
		}
		s.WriteRune(rune(sym))
	}
	return s.String()
}

func (b *board) anyDown() bool {
	for _, d := range b.down {
		if d {
			return true
		}
	}
	for _, d := range b.buttons {
		if d {
			return true
		}
	}
	return false
}

func open(t *testing.T, b *board) *XTest {
	t.Helper()
	x, err := newXTest("", b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x
}

func key(down bool, sym uint32) rfb.Input {
	return rfb.Input{Kind: rfb.KeyInput, Down: down, Keysym: sym}
}

// What the Helper typed appears, whatever the User's keyboard, and whichever
// modifiers the Helper's own keyboard needed for it.
func TestTyping(t *testing.T) {
	text := "aAqQ1!2@#ß ünïcödé €{[]}\\ \u0416\u4f60"
	for name, rows := range map[string]string{"us": us, "de": de} {
		for held, sym := range map[string]uint32{"nothing": 0, "Shift": symShiftL, "AltGr": symLevel3} {
			for lockName, lock := range map[string]uint16{"": 0, " with Caps Lock": maskLock, " with Num Lock": 1 << 4} {
				t.Run(name+" holding "+held+lockName, func(t *testing.T) {
					b := newBoard(rows)
					b.locked = lock
					x := open(t, b)
					if sym != 0 {
						if err := x.Inject(key(true, sym)); err != nil {
							t.Fatal(err)
						}
					}
					for _, r := range text {
						for _, down := range []bool{true, false} {
							if err := x.Inject(key(down, symOf(r))); err != nil {
								t.Fatalf("%c: %v", r, err)
							}
						}
					}
					if got := b.text(); got != text {
						t.Errorf("typed %q, got %q", text, got)
					}
					if state, _ := b.State(); sym != 0 && state == lock {
						t.Error("the modifier did not stay down")
					}
				})
			}
		}
	}
}

// Keys that are no characters keep the modifiers that the Helper holds.
func TestShortcuts(t *testing.T) {
	b := newBoard(us)
	x := open(t, b)
	for _, in := range []rfb.Input{
		key(true, symShiftL), key(true, 0xff09), key(false, 0xff09), key(true, 0xff51), key(false, 0xff51), key(false, symShiftL),
		key(true, 0xffe3), key(true, 'e'), key(false, 'e'), key(false, 0xffe3),
	} {
		if err := x.Inject(in); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(b.typed, []uint32{0xff09, 0xff51, 'e'}) || !slices.Equal(b.states, []uint16{maskShift, maskShift, maskControl}) {
		t.Errorf("typed %x with %x", b.typed, b.states)
	}
}

// Borrowed keys are given back, and never two keysyms at a time to one.
func TestBorrow(t *testing.T) {
	b := newBoard(us)
	before := len(b.rows)
	x := open(t, b)
	var want []uint32
	for i := range uint32(600) { // more than there are keycodes
		sym := symUnicode + 0x4e00 + i%300
		want = append(want, sym)
		if err := x.Inject(key(true, sym)); err != nil {
			t.Fatal(err)
		}
		x.Inject(key(false, sym))
	}
	if !slices.Equal(b.typed, want) {
		t.Error("typed something else")
	}
	sets := b.sets
	for range 10 {
		x.Inject(key(true, 0xe4))
		x.Inject(key(false, 0xe4))
		x.Inject(key(true, 0xc4))
		x.Inject(key(false, 0xc4))
	}
	if b.sets != sets+1 {
		t.Errorf("%d changes of the map for two cases of a letter", b.sets-sets)
	}
	x.Close()
	used := 0
	for _, row := range b.rows {
		if row[0] != 0 {
			used++
		}
	}
	if used != before {
		t.Errorf("%d keys at the end, %d before", used, before)
	}
}

// what is refused, and that refusing presses nothing.
func TestRefused(t *testing.T) {
	hold := func(syms ...uint32) []uint32 { return syms }
	for _, tt := range []struct {
		name string
		held []uint32
		in   rfb.Input
		want error
	}{
		{"no event", nil, rfb.Input{}, ErrKind},
		{"no keysym", nil, key(true, 0), ErrKey},
		{"control character", nil, key(true, 7), ErrKey},
		{"Unicode control", nil, key(true, symUnicode+0x202e), ErrKey},
		{"surrogate", nil, key(true, symUnicode+0xd800), ErrKey},
		{"beyond Unicode", nil, key(true, symUnicode+0x110000), ErrKey},
		{"SysRq", nil, key(true, symSysReq), ErrKey},
		{"virtual terminal", nil, key(true, 0x1008fe01), ErrKey},
		{"power off", nil, key(true, 0x1008ff2a), ErrKey},
		{"screen saver", nil, key(true, 0x1008ff2d), ErrKey},
		{"end the server", nil, key(true, 0xfed5), ErrKey},
		{"Ctrl+Alt+F1", hold(0xffe3, 0xffe9), key(true, symF1), ErrKey},
		{"Ctrl+Alt+Backspace", hold(0xffe3, 0xffe9), key(true, symBackSpace), ErrKey},
		{"Ctrl+Alt+Delete", hold(0xffe3, 0xffe9), key(true, symDelete), ErrKey},
		{"Alt+Print", hold(0xffe9), key(true, symPrint), ErrKey},
		{"pointer right of the desktop", nil, rfb.Input{Kind: rfb.PointerInput, X: 1280}, ErrOutside},
		{"pointer below the desktop", nil, rfb.Input{Kind: rfb.PointerInput, Y: 800, Buttons: 1}, ErrOutside},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBoard(us)
			x := open(t, b)
			for _, sym := range tt.held {
				if err := x.Inject(key(true, sym)); err != nil {
					t.Fatal(err)
				}
			}
			n := len(b.presses)
			if err := x.Inject(tt.in); !errors.Is(err, tt.want) {
				t.Errorf("got %v", err)
			}
			if len(b.presses) != n || b.at != (image.Point{}) || b.buttons[1] {
				t.Error("something was pressed")
			}
		})
	}
	for _, sym := range []uint32{'a', 0xfc, symEscape, symF1, symLevel3, 0x6c1, 0x20ac, symUnicode + 0x4f60, 0xffb1} {
		if !Allowed(sym) {
			t.Errorf("%#x is refused", sym)
		}
	}
}

func TestPointer(t *testing.T) {
	b := newBoard(us)
	x := open(t, b)
	for _, in := range []rfb.Input{
		{Kind: rfb.PointerInput, X: 5, Y: 6}, {Kind: rfb.PointerInput, X: 7, Y: 8, Buttons: 5},
		{Kind: rfb.PointerInput, X: 7, Y: 8, Buttons: 4}, {Kind: rfb.PointerInput, X: 7, Y: 8, Buttons: 0x14},
	} {
		if err := x.Inject(in); err != nil {
			t.Fatal(err)
		}
	}
	if b.at != image.Pt(7, 8) || b.buttons[1] || !b.buttons[3] || !b.buttons[5] {
		t.Errorf("at %v, buttons %v", b.at, b.buttons)
	}
	if err := x.ReleaseAll(); err != nil || b.anyDown() {
		t.Errorf("after ReleaseAll: %v, %v", err, b.buttons)
	}
}

// Random input: ReleaseAll leaves nothing down, and no key is released that is
// not down (the board complains about it).
func TestReleaseAll(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	syms := []uint32{'a', 'A', '@', 0xfc, 0xdc, symShiftL, symLevel3, 0xffe3, 0xffe9, symEscape, symF1, symUnicode + 0x4f60, ' '}
	for range 300 {
		b := newBoard(de)
		x := open(t, b)
		for range 40 {
			in := key(rng.IntN(2) == 0, syms[rng.IntN(len(syms))])
			if rng.IntN(4) == 0 {
				in = rfb.Input{Kind: rfb.PointerInput, X: uint16(rng.IntN(1400)), Buttons: uint8(rng.Uint32())}
			}
			if err := x.Inject(in); err != nil && !errors.Is(err, ErrKey) && !errors.Is(err, ErrOutside) {
				t.Fatal(err)
			}
		}
		if err := x.ReleaseAll(); err != nil {
			t.Fatal(err)
		}
		if b.anyDown() {
			t.Fatalf("still down: %v %v", b.down, b.buttons)
		}
	}
}

// A key is down no longer than it takes, whenever its release comes, and goes
// down again as often as the viewer repeats it; a modifier stays down.
func TestNothingHeld(t *testing.T) {
	b := newBoard(us)
	x := open(t, b)
	x.Inject(key(true, symShiftL))
	for range 3 {
		x.Inject(key(true, 'A'))
		if b.down[38] || !b.down[codeShift] {
			t.Errorf("down: %v", b.down)
		}
	}
	x.Inject(key(false, 'A'))
	if got := b.text(); got != "AAA" {
		t.Errorf("typed %q", got)
	}
	x.Inject(key(false, symShiftL))
	if b.anyDown() {
		t.Errorf("down: %v", b.down)
	}
}

// The book-keeping of Esc: as many foreign presses are reported as there were,
// however they mix with ours; a real keyboard's press always is.
func TestLedger(t *testing.T) {
	var l ledger
	start := time.Unix(0, 0)
	b := newBoard(us)
	k, _ := b.Keymap()
	l.mapped(k)
	rng := rand.New(rand.NewPCG(9, 9))
	for round := range 1000 {
		now := start.Add(time.Duration(round) * 10 * time.Second)
		ours, theirs, real := rng.IntN(5), rng.IntN(3), rng.IntN(2)
		// seen must come after injecting for ours; foreign ones may be
		// anywhere in between.
		var seen []bool // fake
		for range ours {
			l.injecting(now, 9)
			l.injecting(now, 38)
			seen = append(seen, true)
		}
		for range theirs {
			seen = append(seen, true)
		}
		for range real {
			seen = append(seen, false)
		}
		rng.Shuffle(len(seen), func(i, j int) { seen[i], seen[j] = seen[j], seen[i] })
		reported := 0
		for _, fake := range seen {
			if l.seen(now.Add(time.Millisecond), 9, fake) {
				reported++
			}
		}
		for range ours {
			if l.seen(now, 38, true) {
				t.Fatal("a letter was reported as Esc")
			}
		}
		if reported != theirs+real {
			t.Fatalf("round %d: reported %d of %d", round, reported, theirs+real)
		}
		if l.seen(now, 38, false) {
			t.Fatal("another key was reported")
		}
	}
	// A real keyboard's press does not use up the entry of ours.
	l.injecting(start, 9)
	if !l.seen(start, 9, false) || l.seen(start, 9, true) || !l.seen(start, 9, true) {
		t.Error("a real keyboard's press was taken for ours")
	}
	// An entry that was never seen again excuses nothing later.
	l.injecting(start, 9)
	if !l.seen(start.Add(ledgerLife+1), 9, true) {
		t.Error("a stale entry excused a press")
	}
	// Taking Esc off the map does not take it away from the User.
	delete(b.rows, 9)
	k, _ = b.Keymap()
	l.mapped(k)
	if !l.seen(start, 9, false) {
		t.Error("Esc was taken away")
	}
	var none ledger
	none.mapped(k)
	if !none.seen(start, escCode, false) {
		t.Error("no Esc on the map, and the key at its place does not count")
	}
}

// no event whatever makes the injector fail, panic, press what is not
// allowed or point outside.
func FuzzInject(f *testing.F) {
	f.Add([]byte{4, 1, 0, 0, 0, 0, 0, 0x61})
	f.Add([]byte{5, 3, 0, 9, 0, 9})
	f.Add([]byte{4, 1, 0, 0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, msgs []byte) {
		b := newBoard(de)
		x, err := newXTest("", b)
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		for n := rfb.InputSize(msgs); n > 0 && n <= len(msgs); n = rfb.InputSize(msgs) {
			in, err := rfb.ParseInput(msgs[:n])
			if err != nil {
				t.Fatal(err)
			}
			if err := x.Inject(in); err != nil && !errors.Is(err, ErrKey) && !errors.Is(err, ErrOutside) {
				t.Fatal(err)
			}
			msgs = msgs[n:]
		}
		for _, sym := range b.typed {
			if !Allowed(sym) {
				t.Fatalf("typed %#x", sym)
			}
		}
		if !b.at.In(image.Rect(0, 0, 1280, 800)) {
			t.Fatalf("pointer at %v", b.at)
		}
		if err := x.ReleaseAll(); err != nil || b.anyDown() {
			t.Fatalf("after ReleaseAll: %v, %v", err, b.down)
		}
	})
}
