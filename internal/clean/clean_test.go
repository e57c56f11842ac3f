package clean

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// What a peer wrote cannot steer a terminal, reverse text or hide. R-26 C-08
func TestLine(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"plain", "hello", "hello"},
		{"other scripts stay", "Größe Ελλ Привет שלום 你好 👍", "Größe Ελλ Привет שלום 你好 👍"},
		{"escape sequence", "a\x1b[2Jb", "a[2Jb"},
		{"operating system command", "\x1b]0;title\x07x", "]0;titlex"},
		{"C1 control", "a\u009b31mb", "a31mb"},
		{"null and delete", "a\x00b\x7fc", "abc"},
		{"second line", "hi\nUser: yes", "hi User: yes"},
		{"carriage return", "hi\rEVIL", "hi EVIL"},
		{"line separator", "a\u2028b\u2029c", "a b c"},
		{"right-to-left override", "exe.\u202Egpj", "exe.gpj"},
		{"isolates", "\u2066a\u2069\u2067b", "ab"},
		{"marks of direction", "\u200Ea\u200F\u061Cb", "ab"},
		{"zero width", "pass\u200Bword\u200C\u200D\u2060\uFEFF", "password"},
		{"soft hyphen", "a\u00ADb", "ab"},
		{"tag characters", "a\U000E0041b", "ab"},
		{"hangul filler", "\u3164\u115Fx", "x"},
		{"variation selector", "a\uFE0Fb\U000E0100", "ab"},
		{"private use", "a\uE000b", "ab"},
		{"invalid UTF-8", "a\xffb\xc3", "a\uFFFDb\uFFFD"},
		{"surrogate bytes", "\xed\xa0\x80", "\uFFFD\uFFFD\uFFFD"},
		{"ends trimmed", " \t a \n", "a"},
		{"only controls", "\x1b\x00\u202E", ""},
		{"stacked marks", "a" + strings.Repeat("\u0301", 100), "a" + strings.Repeat("\u0301", maxMarks)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Line(tt.in, MaxText); got != tt.want {
				t.Errorf("Line(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

func TestLineIsBounded(t *testing.T) {
	for _, in := range []string{strings.Repeat("a", 10000), strings.Repeat("é", 10000), strings.Repeat("👍", 10000)} {
		got := Line(in, MaxText)
		if len(got) > MaxText || len(got) < MaxText-3 || !utf8.ValidString(got) {
			t.Errorf("%d bytes, valid %v; want at most %d, cut between characters", len(got), utf8.ValidString(got), MaxText)
		}
	}
}

func FuzzLine(f *testing.F) {
	for _, s := range []string{"hello", "\x1b[31m", "\u202Eabc", "\xff", "e\u0301", " a\u200B "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Line(s, 100)
		if len(got) > 100 || !utf8.ValidString(got) {
			t.Fatalf("Line(%q) = %q", s, got)
		}
		for _, r := range got {
			if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co) {
				t.Fatalf("%U is left of %q", r, s)
			}
		}
		if again := Line(got, 100); again != got {
			t.Fatalf("not stable: %q, then %q", got, again)
		}
	})
}
