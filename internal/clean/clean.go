// Package clean makes text of foreign origin (chat, names, error strings,
// versions) fit for a terminal, a page or a log.
//
// It removes what could move a cursor, reverse the reading direction or hide
// inside a word: C0 and C1 controls, ESC with them, bidirectional controls,
// zero-width and other format characters, separators that break a line,
// private-use and unassigned code points. Bytes that are no UTF-8 become
// U+FFFD. It does not judge look-alikes (a Cyrillic "a" stays): a name is
// never proof of anything here, cleaned or not.
//
//	name := clean.Line(hello.Name, 64)
//	fmt.Printf("%s says: %s\n", name, clean.Line(chat.Text, clean.MaxText))
package clean

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds in bytes of UTF-8.
const (
	MaxText = 4096 // any foreign string that is shown
	MaxName = 64   // what a peer calls itself
)

// maxMarks is how many combining marks may follow one another: enough for
// every living script, too few to paint over the lines above and below.
const maxMarks = 6

// Line returns s as one line of at most max bytes of valid UTF-8. Line breaks
// and tabs become spaces, so that a second line of chat cannot pose as a line
// of ours; space at both ends is cut. Line(Line(s)) equals Line(s).
func Line(s string, max int) string {
	var b strings.Builder
	marks := 0
	for _, r := range s { // an invalid byte yields U+FFFD
		switch {
		case r == '\n' || r == '\r' || r == '\t' || r == '\u2028' || r == '\u2029':
			r = ' '
		case !printable(r):
			continue
		}
		if unicode.Is(unicode.M, r) {
			if marks++; marks > maxMarks {
				continue
			}
		} else {
			marks = 0
		}
		if b.Len()+utf8.RuneLen(r) > max {
			break
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}

// printable is false for controls, format characters (Cf holds the
// bidirectional and zero-width ones), surrogates, private use, unassigned code
// points, and for the few invisible characters that Unicode files as letters
// or marks.
func printable(r rune) bool {
	switch {
	case r == ' ':
		return true
	case r == '\u115F' || r == '\u1160' || r == '\u3164' || r == '\uFFA0': // Hangul fillers
		return false
	case r == '\u034F' || r == '\u17B4' || r == '\u17B5' || r == '\u2800': // joiner, vowels, blank Braille
		return false
	case r >= '\u180B' && r <= '\u180F', r >= '\uFE00' && r <= '\uFE0F', r >= 0xE0100 && r <= 0xE01EF: // variation selectors
		return false
	case unicode.Is(unicode.Zs, r):
		return true
	}
	return unicode.IsPrint(r)
}
