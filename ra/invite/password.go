package invite

import (
	"crypto/rand"
	"fmt"
	"strings"
	"unicode"
)

// alphabet has 32 letters, none of which looks like another of them: there is
// no I, L, O or U.
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

const (
	passwordLetters = 12 // 12 x 5 bits = 60 bits
	passwordGroup   = 4
)

// NewPassword returns a fresh password of 60 random bits, in its canonical
// form: three groups of four, such as "7K2M-Q9TX-04WF".
func NewPassword() string {
	var raw [passwordLetters]byte
	rand.Read(raw[:]) // never fails: crypto/rand ends the program instead
	for i, b := range raw {
		raw[i] = alphabet[b%32] // 256 is a multiple of 32: no letter is favoured
	}
	return group(raw[:])
}

// Normalize returns the canonical form of a password as a person typed it:
// upper or lower case, with or without spaces and dashes, and with O for 0, I
// or L for 1 and U for V, which the alphabet leaves unambiguous. The error
// (an [ErrPassword]) never quotes what was typed.
func Normalize(typed string) (string, error) {
	letters := make([]byte, 0, passwordLetters)
	for _, r := range typed {
		if unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) || r == '.' || r == '_' {
			continue
		}
		switch r = unicode.ToUpper(r); r {
		case 'O':
			r = '0'
		case 'I', 'L':
			r = '1'
		case 'U':
			r = 'V'
		}
		if r > unicode.MaxASCII || strings.IndexByte(alphabet, byte(r)) < 0 {
			return "", fmt.Errorf("%w: it has letters and digits only", ErrPassword)
		}
		if len(letters) == passwordLetters {
			return "", fmt.Errorf("%w: it has more than %d letters", ErrPassword, passwordLetters)
		}
		letters = append(letters, byte(r))
	}
	if len(letters) != passwordLetters {
		return "", fmt.Errorf("%w: it has %d letters, want %d", ErrPassword, len(letters), passwordLetters)
	}
	return group(letters), nil
}

func group(letters []byte) string {
	var b strings.Builder
	for i, c := range letters {
		if i > 0 && i%passwordGroup == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(c)
	}
	return b.String()
}
