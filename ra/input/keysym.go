package input

import "unicode"

// Keysyms that this package knows by name (X protocol, appendix A, and the
// keyboard extensions).
const (
	symBackSpace = 0xff08
	symSysReq    = 0xff15
	symEscape    = 0xff1b
	symPrint     = 0xff61
	symNumLock   = 0xff7f
	symF1        = 0xffbe
	symF12       = 0xffc9
	symShiftL    = 0xffe1
	symHyperR    = 0xffee
	symDelete    = 0xffff
	symLevel3    = 0xfe03
	symUnicode   = 0x01000000
)

// Allowed reports whether a keysym may be injected at all. Not among
// them: SysRq, and everything of the vendors' block 0x1008xxxx, where virtual
// terminals, power, sleep and screen lock are.
func Allowed(sym uint32) bool {
	for _, r := range [...][2]uint32{
		{0x20, 0x7e}, {0xa0, 0xff}, // Latin 1
		{0x1a1, 0x20ff},  // national alphabets, currency
		{0xfe03, 0xfe05}, // third level
		{0xfe20, 0xfe20}, // Shift+Tab
		{0xfe50, 0xfe93}, // dead keys
		{0xff08, 0xff0b}, {0xff0d, 0xff0d}, {0xff13, 0xff14}, {symEscape, symEscape},
		{0xff20, 0xff20},                   // compose
		{0xff50, 0xff58},                   // cursor
		{0xff60, 0xff6b},                   // Select to Break; Print has its own rule
		{0xff7e, 0xff7f},                   // mode switch, Num Lock
		{0xff80, 0xffb9}, {0xffbd, 0xffbd}, // keypad
		{symF1, 0xffe0},        // function keys
		{symShiftL, symHyperR}, // modifiers
		{symDelete, symDelete}, //
	} {
		if sym >= r[0] && sym <= r[1] {
			return true
		}
	}
	if sym >= symUnicode+0x100 && sym <= symUnicode+unicode.MaxRune {
		return unicode.IsGraphic(rune(sym - symUnicode))
	}
	return false
}

// isModifier reports whether a key changes the meaning of others.
func isModifier(sym uint32) bool {
	return sym >= symShiftL && sym <= symHyperR || sym >= symLevel3 && sym <= 0xfe05 ||
		sym == 0xff7e || sym == symNumLock
}

// isCharacter reports whether a key stands for a character, so that Shift and
// the third level are only means to reach it.
func isCharacter(sym uint32) bool { return sym < 0xfe00 || sym >= symUnicode || isKeypad(sym) }

// isKeypad reports whether Num Lock matters for a key.
func isKeypad(sym uint32) bool { return sym >= 0xff80 && sym <= 0xffb9 || sym == 0xffbd }

// cases returns the lower and upper case of a letter; both sym if it has none.
func cases(sym uint32) (lower, upper uint32) {
	r := rune(-1)
	switch {
	case sym >= 0x20 && sym <= 0xff:
		r = rune(sym)
	case sym > symUnicode && sym <= symUnicode+unicode.MaxRune:
		r = rune(sym - symUnicode)
	}
	l, u := unicode.ToLower(r), unicode.ToUpper(r)
	// Only pairs that lead back to each other: ß and µ have a case of their own.
	if r < 0 || l == u || unicode.ToLower(u) != l || unicode.ToUpper(l) != u {
		return sym, sym
	}
	return symOf(l), symOf(u)
}

// symOf returns the keysym of a character: itself in Latin 1.
func symOf(r rune) uint32 {
	if r < 0x100 {
		return uint32(r)
	}
	return symUnicode + uint32(r)
}

// normal gives characters of Latin 1 their one name.
func normal(sym uint32) uint32 {
	if sym >= symUnicode && sym < symUnicode+0x100 {
		return sym - symUnicode
	}
	return sym
}
