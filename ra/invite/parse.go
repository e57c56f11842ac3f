package invite

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	// MaxFile bounds an invitation file, in bytes.
	MaxFile = 64 << 10

	typeName    = "Shipworm"
	declaration = `<?xml version="1.0" encoding="UTF-8"?>`
)

// grammar lists the elements of a file, each exactly once, in this order. The
// first contains the others: nothing is deeper than two.
var grammar = [...]struct {
	name string
	text bool // has text
}{
	{"UPLOADINFO", false}, {"INVITATION", false}, {"KDF", false}, {"TICKET", true}, {"DIGEST", true},
}

// Parse reads an invitation file. It needs no password: the ticket stays
// sealed. The file may come from anybody, so the reader is strict: at
// most 64 KiB of UTF-8; no DTD, comment, CDATA section, entity or processing
// instruction; known elements and attributes only, each once, every value in
// its one canonical spelling; nothing after the end.
//
// Every error is a [*FormatError].
func Parse(data []byte) (*File, error) {
	p := parser{data: data}
	f, err := p.parse()
	if err != nil {
		return nil, err
	}
	if cause, reason := f.check(); cause != nil {
		return nil, &FormatError{Offset: int64(len(data)), Reason: reason, Err: cause}
	}
	return f, nil
}

type parser struct {
	data []byte
	dec  *xml.Decoder
	seen map[string]string // "ELEMENT ATTR" -> value
	text map[string]string // element -> text
}

// fail gives up at the decoder's position, or at the given one.
func (p *parser) fail(cause error, at int64, format string, args ...any) error {
	if at < 0 {
		at = p.dec.InputOffset()
	}
	return &FormatError{Offset: at, Reason: fmt.Sprintf(format, args...), Err: cause}
}

func (p *parser) parse() (*File, error) {
	if err := p.scan(); err != nil {
		return nil, err
	}
	p.dec = xml.NewDecoder(bytes.NewReader(p.data))
	p.seen, p.text = map[string]string{}, map[string]string{}
	if err := p.walk(); err != nil {
		return nil, err
	}
	f := &File{}
	for _, fd := range fields() {
		value := p.seen[fd.element+" "+fd.attr]
		err := fd.set(&f.head, value)
		if err == nil && fd.get(&f.head) != value {
			err = errCanonical
		}
		if err != nil {
			return nil, p.fail(ErrDamaged, -1, "%s %s: %v", fd.element, fd.attr, err)
		}
	}
	var err error
	if f.ticket, err = decodeText(p.text["TICKET"], maxTicket+64); err != nil {
		return nil, p.fail(ErrDamaged, -1, "TICKET: %v", err)
	}
	if f.digest, err = decodeDigest(p.text["DIGEST"]); err != nil {
		return nil, p.fail(ErrDamaged, -1, "DIGEST: %v", err)
	}
	f.aad = f.head.appendTo(nil)
	return f, nil
}

// scan applies the rules that need no XML parser, so that no parser ever sees
// a construct that we do not use.
func (p *parser) scan() error {
	if len(p.data) > MaxFile {
		return p.fail(ErrNotInvitation, MaxFile, "longer than %d bytes", MaxFile)
	}
	if foreign(p.data) {
		return p.fail(ErrForeign, 0, "no TYPE=%q", typeName)
	}
	if !bytes.Contains(p.data, []byte(`TYPE="`+typeName+`"`)) {
		return p.fail(ErrNotInvitation, 0, "no TYPE=%q", typeName)
	}
	if !utf8.Valid(p.data) {
		return p.fail(ErrDamaged, 0, "not UTF-8")
	}
	for _, bad := range []struct{ text, what string }{
		{"<!", "a DTD, comment or CDATA section"},
		{"&", "an entity"},
	} {
		if i := bytes.Index(p.data, []byte(bad.text)); i >= 0 {
			return p.fail(ErrDamaged, int64(i), "%s", bad.what)
		}
	}
	// The XML declaration is allowed, spelled as we spell it.
	rest := bytes.TrimPrefix(p.data, []byte(declaration))
	if i := bytes.Index(rest, []byte("<?")); i >= 0 {
		return p.fail(ErrDamaged, int64(len(p.data)-len(rest)+i), "a processing instruction")
	}
	return nil
}

// walk holds the tokens against the grammar.
func (p *parser) walk() error {
	next, depth, current := 0, 0, ""
	for {
		token, err := p.dec.Token()
		if err == io.EOF {
			if next != len(grammar) || depth != 0 {
				return p.fail(ErrDamaged, -1, "the end is missing")
			}
			return nil
		}
		if err != nil {
			return p.fail(ErrDamaged, -1, "%v", err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			want := depth == 0 && next == 0 || depth == 1 && next > 0
			if !want || next == len(grammar) || t.Name.Space != "" || t.Name.Local != grammar[next].name {
				return p.fail(ErrDamaged, -1, "element %q is not expected here", t.Name.Local)
			}
			current = t.Name.Local
			next, depth = next+1, depth+1
			if err := p.attributes(t); err != nil {
				return err
			}
		case xml.EndElement:
			depth, current = depth-1, ""
		case xml.CharData:
			if current != "" && grammar[next-1].text {
				p.text[current] += string(t)
			} else if len(bytes.Trim(t, " \t\r\n")) != 0 {
				return p.fail(ErrDamaged, -1, "text is not expected here")
			}
		case xml.ProcInst: // the declaration: scan left no other
		default:
			return p.fail(ErrDamaged, -1, "%T", token)
		}
	}
}

// attributes takes the attributes of one element: all that it must have, each
// once, and no other.
func (p *parser) attributes(e xml.StartElement) error {
	name := e.Name.Local
	for _, a := range e.Attr {
		key := name + " " + a.Name.Local
		if _, twice := p.seen[key]; twice {
			return p.fail(ErrDamaged, -1, "%s: attribute %s twice", name, a.Name.Local)
		}
		if a.Name.Space != "" || !known(name, a.Name.Local) {
			return p.fail(ErrDamaged, -1, "%s: attribute %q is not expected", name, a.Name.Local)
		}
		p.seen[key] = a.Value
	}
	for key, want := range fixed() {
		element, attr, _ := strings.Cut(key, " ")
		if element == name && p.seen[key] != want {
			return p.fail(ErrDamaged, -1, "%s %s is not %q", element, attr, want)
		}
	}
	// A later version may look different from here on: say so first.
	if name == "UPLOADINFO" {
		if v := p.seen["UPLOADINFO VERSION"]; v != decimal(Version) && isNumber(v) {
			return p.fail(ErrVersion, -1, "version %s, want %d", v, Version)
		}
	}
	for _, fd := range fields() {
		if _, ok := p.seen[name+" "+fd.attr]; fd.element == name && !ok {
			return p.fail(ErrDamaged, -1, "%s: attribute %s is missing", name, fd.attr)
		}
	}
	return nil
}

// fixed lists the attributes that are no header fields: they say what the file
// and the digest are.
func fixed() map[string]string {
	return map[string]string{"UPLOADINFO TYPE": typeName, "DIGEST NAME": digestName}
}

func known(element, attr string) bool {
	if _, ok := fixed()[element+" "+attr]; ok {
		return true
	}
	for _, fd := range fields() {
		if fd.element == element && fd.attr == attr {
			return true
		}
	}
	return false
}

func isNumber(s string) bool {
	n, err := number(s, 16)
	return err == nil && decimal(n) == s
}

// foreign recognises Windows' own tickets, in UTF-8 or, as Windows XP wrote
// them, in UTF-16.
func foreign(data []byte) bool {
	text := string(data)
	if len(data) >= 2 && (data[0] == 0xff && data[1] == 0xfe || data[0] == '<' && data[1] == 0) {
		units := make([]uint16, len(data)/2)
		for i := range units {
			units[i] = uint16(data[2*i]) | uint16(data[2*i+1])<<8
		}
		text = string(utf16.Decode(units))
	}
	return strings.Contains(text, "<UPLOADINFO") && strings.Contains(text, "<UPLOADDATA") &&
		!strings.Contains(text, `TYPE="`+typeName+`"`)
}
