package scenario

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"

	"shipworm/internal/toml"
)

// MaxSize bounds a scenario file, in bytes.
const MaxSize = 1 << 20

// A table is a TOML table in the order of the file. Unlike a map it knows where
// everything stands, which is what makes an error message useful.
type table struct {
	at      position
	entries []*entry
}

// entry is a key with its value.
type entry struct {
	key   string
	at    position // of the key
	value value
}

// value is a TOML value, or a list of tables.
type value struct {
	at    position
	kind  toml.Kind
	text  string // of a scalar: a string's content, else as written
	items []value
	table *table // of Table and InlineTable
}

func (t *table) find(key string) *entry {
	for _, e := range t.entries {
		if e.key == key {
			return e
		}
	}
	return nil
}

// readTree parses a TOML document. Errors are problems of the file.
func readTree(src []byte) (*table, error) {
	if len(src) > MaxSize {
		return nil, &FileError{[]Problem{{1, 1, "the file is too large: want at most 1 MiB"}}}
	}
	// Editors of Windows put this mark before the text.
	src = bytes.Clone(bytes.TrimPrefix(src, []byte("\ufeff")))
	if bytes.IndexByte(src, 0) >= 0 {
		return nil, &FileError{[]Problem{{1, 1, "this is no text: want a file in TOML"}}}
	}
	// The decoder knows all rules of the language, the parser only the
	// grammar; the parser knows where everything stands.
	var all map[string]any
	if err := toml.Unmarshal(src, &all); err != nil {
		return nil, syntaxError(err)
	}
	b := builder{src: src, root: &table{at: position{1, 1}}}
	b.parser.Reset(src)
	current := b.root
	for b.parser.NextExpression() {
		n := b.parser.Expression()
		switch n.Kind {
		case toml.Table, toml.ArrayTable:
			current = b.open(n)
		case toml.KeyValue:
			b.keyValue(current, n)
		}
	}
	if err := b.parser.Error(); err != nil {
		return nil, syntaxError(err)
	}
	return b.root, nil
}

func syntaxError(err error) error {
	p := Problem{1, 1, "not TOML: " + strings.TrimPrefix(err.Error(), "toml: ")}
	var d *toml.DecodeError
	if errors.As(err, &d) {
		p.Line, p.Column = d.Position()
		if strings.Contains(p.Message, "already") {
			p.Message += ": want it once"
		}
	}
	p.Line, p.Column = max(p.Line, 1), max(p.Column, 1)
	return &FileError{[]Problem{p}}
}

// builder turns the parser's nodes into tables.
type builder struct {
	parser toml.Parser
	src    []byte
	root   *table

	offset int // where the last position was looked up
	last   position
}

// position turns an offset into line and column. Lookups go forward mostly.
func (b *builder) position(n *toml.Node) position {
	to := int(n.Raw.Offset)
	if to < b.offset || b.last.line == 0 {
		b.offset, b.last = 0, position{1, 1}
	}
	for b.offset < to {
		r, size := utf8.DecodeRune(b.src[b.offset:])
		b.offset += size
		b.last.column++
		if r == '\n' {
			b.last = position{b.last.line + 1, 1}
		}
	}
	return b.last
}

// open returns the table that a header [a.b] or [[a.b]] begins.
func (b *builder) open(n *toml.Node) *table {
	t := b.root
	for it := n.Key(); it.Next(); {
		k := it.Node()
		t = b.enter(t, k, n.Kind == toml.ArrayTable && it.IsLast())
	}
	return t
}

// enter goes into the table under a key, making it where there is none. Of a
// list of tables it is the last one, or a new one.
func (b *builder) enter(t *table, key *toml.Node, list bool) *table {
	at, name := b.position(key), string(key.Data)
	e := t.find(name)
	if e == nil {
		e = &entry{key: name, at: at, value: value{at: at, kind: toml.Table, table: &table{at: at}}}
		if list {
			e.value = value{at: at, kind: toml.Array}
		}
		t.entries = append(t.entries, e)
	}
	if e.value.kind != toml.Array {
		if e.value.table == nil { // the decoder has refused this already
			return &table{at: at}
		}
		return e.value.table
	}
	if list || len(e.value.items) == 0 {
		e.value.items = append(e.value.items, value{at: at, kind: toml.Table, table: &table{at: at}})
	}
	last := &e.value.items[len(e.value.items)-1]
	if last.table == nil {
		return &table{at: at}
	}
	return last.table
}

func (b *builder) keyValue(t *table, n *toml.Node) {
	for it := n.Key(); it.Next(); {
		k := it.Node()
		if !it.IsLast() {
			t = b.enter(t, k, false)
			continue
		}
		at := b.position(k)
		t.entries = append(t.entries, &entry{key: string(k.Data), at: at, value: b.value(n.Value(), at)})
	}
}

// value converts a value; at is the place to name where it has none of its own.
func (b *builder) value(n *toml.Node, at position) value {
	v := value{at: at, kind: n.Kind, text: string(n.Data)}
	switch n.Kind {
	case toml.Array:
		for it := n.Children(); it.Next(); {
			v.items = append(v.items, b.value(it.Node(), at))
		}
	case toml.InlineTable:
		v.at = b.position(n)
		v.table = &table{at: v.at}
		for it := n.Children(); it.Next(); {
			b.keyValue(v.table, it.Node())
		}
	default:
		v.at = b.position(n)
	}
	return v
}
