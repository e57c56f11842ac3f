package invite

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Names of the one suite of version 1.
const (
	kdfName    = "argon2id"
	cipherName = "XChaCha20-Poly1305"
	digestName = "SHA-256"
	timeLayout = "2006-01-02T15:04:05Z"
)

// header is what a file says in clear.
type header struct {
	version          int
	id               [16]byte
	created, expires time.Time
	costs            costs
	salt             [16]byte
	nonce            [24]byte
}

// A field is one value of the header: where it stands in the file, how it is
// spelled, and how it is read back. Every value has exactly one spelling.
type field struct {
	element, attr string
	get           func(*header) string
	set           func(*header, string) error
}

// fields lists the header in the order in which it is sealed and written.
func fields() []field {
	return []field{
		{"UPLOADINFO", "VERSION", func(h *header) string { return strconv.Itoa(h.version) },
			func(h *header, s string) (err error) { h.version, err = strconv.Atoi(s); return err }},
		{"INVITATION", "ID", func(h *header) string { return hex.EncodeToString(h.id[:]) },
			func(h *header, s string) error { return decodeHex(h.id[:], s) }},
		{"INVITATION", "CREATED", func(h *header) string { return h.created.Format(timeLayout) },
			func(h *header, s string) (err error) { h.created, err = time.Parse(timeLayout, s); return err }},
		{"INVITATION", "EXPIRES", func(h *header) string { return h.expires.Format(timeLayout) },
			func(h *header, s string) (err error) { h.expires, err = time.Parse(timeLayout, s); return err }},
		{"KDF", "NAME", func(*header) string { return kdfName }, constant},
		{"KDF", "MEMORY", func(h *header) string { return decimal(h.costs.memory) },
			func(h *header, s string) (err error) { h.costs.memory, err = number(s, 32); return err }},
		{"KDF", "TIME", func(h *header) string { return decimal(h.costs.time) },
			func(h *header, s string) (err error) { h.costs.time, err = number(s, 32); return err }},
		{"KDF", "THREADS", func(h *header) string { return decimal(uint32(h.costs.threads)) },
			func(h *header, s string) error {
				n, err := number(s, 8)
				h.costs.threads = uint8(n)
				return err
			}},
		{"KDF", "SALT", func(h *header) string { return hex.EncodeToString(h.salt[:]) },
			func(h *header, s string) error { return decodeHex(h.salt[:], s) }},
		{"TICKET", "CIPHER", func(*header) string { return cipherName }, constant},
		{"TICKET", "NONCE", func(h *header) string { return hex.EncodeToString(h.nonce[:]) },
			func(h *header, s string) error { return decodeHex(h.nonce[:], s) }},
	}
}

// constant accepts anything: that the spelling is the one that get returns is
// checked for every field alike.
func constant(*header, string) error { return nil }

// appendTo appends the canonical header, the associated data of the seal: a
// fixed first line, then the fields in order, each ended by a line feed.
func (h *header) appendTo(b []byte) []byte {
	b = append(b, "shipworm-invitation\n"...)
	for _, f := range fields() {
		b = append(b, f.get(h)...)
		b = append(b, '\n')
	}
	return b
}

// encode writes the file.
func (f *File) encode() []byte {
	var b strings.Builder
	attrs := func(element string) string {
		var s strings.Builder
		for _, fd := range fields() {
			if fd.element == element {
				fmt.Fprintf(&s, " %s=%q", fd.attr, fd.get(&f.head))
			}
		}
		return s.String()
	}
	b.WriteString(declaration + "\r\n")
	fmt.Fprintf(&b, "<UPLOADINFO TYPE=%q%s>\r\n", typeName, attrs("UPLOADINFO"))
	fmt.Fprintf(&b, "  <INVITATION%s/>\r\n", attrs("INVITATION"))
	fmt.Fprintf(&b, "  <KDF%s/>\r\n", attrs("KDF"))
	fmt.Fprintf(&b, "  <TICKET%s>\r\n", attrs("TICKET"))
	for text := base64.StdEncoding.EncodeToString(f.ticket); text != ""; {
		n := min(76, len(text))
		b.WriteString(text[:n] + "\r\n")
		text = text[n:]
	}
	b.WriteString("  </TICKET>\r\n")
	fmt.Fprintf(&b, "  <DIGEST NAME=%q>%x</DIGEST>\r\n", digestName, f.digest)
	b.WriteString("</UPLOADINFO>\r\n")
	return []byte(b.String())
}

func decimal(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

func number(s string, bits int) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, bits)
	return uint32(n), err
}

func decodeHex(dst []byte, s string) error {
	if len(s) != 2*len(dst) {
		return fmt.Errorf("%d hexadecimal digits, want %d", len(s), 2*len(dst))
	}
	_, err := hex.Decode(dst, []byte(s))
	return err
}

func decodeText(s string, max int) ([]byte, error) {
	s = strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' || r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, s)
	if base64.StdEncoding.DecodedLen(len(s)) > max+2 {
		return nil, fmt.Errorf("more than %d bytes", max)
	}
	return base64.StdEncoding.Strict().DecodeString(s)
}

func decodeDigest(s string) (d [sha256.Size]byte, err error) {
	if err = decodeHex(d[:], s); err == nil && hex.EncodeToString(d[:]) != s {
		err = errCanonical
	}
	return d, err
}
