package scenario

import (
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"shipworm/internal/toml"
)

// A section reads the keys of one table and reports those that nobody asked
// for. Every getter reports a wrong type itself, and ok is false then as it is
// where the key is missing.
type section struct {
	*problems
	*table
	known []string // in the order of asking
}

func (p *problems) section(t *table) *section { return &section{problems: p, table: t} }

// take returns the entry of a key, which is now a known one.
func (s *section) take(key string) (*entry, bool) {
	s.known = append(s.known, key)
	e := s.find(key)
	return e, e != nil
}

// finish reports the keys that nobody took.
func (s *section) finish() {
	for _, e := range s.entries {
		known := false
		for _, k := range s.known {
			known = known || k == e.key
		}
		if !known {
			s.add(e.at, "unknown key %q: %s", e.key, oneOf(s.known))
		}
	}
}

func (v value) typeName() string {
	switch v.kind {
	case toml.String:
		return "a string"
	case toml.Bool:
		return "a boolean"
	case toml.Integer:
		return "an integer"
	case toml.Float:
		return "a number"
	case toml.Array:
		if len(v.items) > 0 && v.items[0].kind == toml.Table {
			return "a list of tables"
		}
		return "a list"
	case toml.Table, toml.InlineTable:
		return "a table"
	}
	return "a date or time"
}

func (s *section) wrong(key string, v value, want string) {
	s.add(v.at, "%s is %s: want %s", key, v.typeName(), want)
}

func (s *section) text(key string) (string, position, bool) {
	e, ok := s.take(key)
	if !ok {
		return "", position{}, false
	}
	if e.value.kind != toml.String {
		s.wrong(key, e.value, "a string")
		return "", position{}, false
	}
	return e.value.text, e.value.at, true
}

// texts reads a list of strings; a single string is a list of one.
func (s *section) texts(key string) ([]value, bool) {
	e, ok := s.take(key)
	if !ok {
		return nil, false
	}
	list := e.value.items
	if e.value.kind == toml.String {
		list = []value{e.value}
	} else if e.value.kind != toml.Array {
		s.wrong(key, e.value, "a string or a list of strings")
		return nil, false
	}
	for _, v := range list {
		if v.kind != toml.String {
			s.wrong(key, v, "a list of strings")
			return nil, false
		}
	}
	return list, true
}

// maxDuration bounds every time in a file: a year is more than anybody waits,
// and sums of a few never overflow.
const maxDuration = 366 * 24 * time.Hour

const durationWant = `a time such as "250ms", "30s" or "1h30m"`

func (s *section) duration(key string) (time.Duration, bool) {
	e, ok := s.take(key)
	if !ok {
		return 0, false
	}
	if e.value.kind != toml.String {
		s.wrong(key, e.value, durationWant)
		return 0, false
	}
	d, err := time.ParseDuration(e.value.text)
	if err != nil || d < 0 || d > maxDuration {
		s.add(e.value.at, "%s %q: want %s", key, e.value.text, durationWant)
		return 0, false
	}
	return d, true
}

func (s *section) boolean(key string) bool {
	e, ok := s.take(key)
	if ok && e.value.kind != toml.Bool {
		s.wrong(key, e.value, "true or false")
		return false
	}
	return ok && e.value.text == "true"
}

// integer reads a whole number from low to high.
func (s *section) integer(key string, low, high int64) (int64, bool) {
	e, ok := s.take(key)
	if !ok {
		return 0, false
	}
	if e.value.kind != toml.Integer {
		s.wrong(key, e.value, "a whole number")
		return 0, false
	}
	n, err := strconv.ParseInt(e.value.text, 0, 64)
	if err != nil || n < low || n > high {
		s.add(e.value.at, "%s = %s: want %d to %d", key, e.value.text, low, high)
		return 0, false
	}
	return n, true
}

// share reads 0..1, or a percentage as a string.
func (s *section) share(key string) (float64, bool) {
	const want = `a share such as 0.015 or "1.5%"`
	e, ok := s.take(key)
	if !ok {
		return 0, false
	}
	number, percent := strings.CutSuffix(e.value.text, "%")
	switch e.value.kind {
	case toml.Float, toml.Integer, toml.String:
	default:
		s.wrong(key, e.value, want)
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(number, "_", ""), 64)
	if percent {
		f /= 100
	}
	if err != nil || math.IsNaN(f) || f < 0 || f > 1 || percent != (e.value.kind == toml.String) {
		s.add(e.value.at, "%s = %s: want %s", key, e.value.text, want)
		return 0, false
	}
	return f, true
}

// number reads a number from 0 on.
func (s *section) number(key string) (float64, bool) {
	e, ok := s.take(key)
	if !ok {
		return 0, false
	}
	if e.value.kind != toml.Float && e.value.kind != toml.Integer {
		s.wrong(key, e.value, "a number")
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(e.value.text, "_", ""), 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) || f < 0 {
		s.add(e.value.at, "%s = %s: want a number from 0 on", key, e.value.text)
		return 0, false
	}
	return f, true
}

// addresses reads one IPv4 address of a host, or several.
func (s *section) addresses(key string) ([]netip.Addr, []position) {
	return s.addressesOf(key, "the IPv4 address of one host, such as \"192.0.2.1\"", func(a netip.Addr) bool { return a.Is4() && plainIPv4(a) })
}

// addressesOf reads addresses that satisfy ok.
func (s *section) addressesOf(key, want string, ok func(netip.Addr) bool) ([]netip.Addr, []position) {
	list, given := s.texts(key)
	if given && len(list) == 0 {
		s.add(s.find(key).at, "%s is an empty list: want %s", key, want)
	}
	var addrs []netip.Addr
	var at []position
	for _, v := range list {
		a, err := netip.ParseAddr(v.text)
		if err != nil || !ok(a) || a.IsMulticast() || a.IsUnspecified() {
			s.add(v.at, "%s %q: want %s", key, v.text, want)
			continue
		}
		addrs, at = append(addrs, a), append(at, v.at)
	}
	return addrs, at
}

// tables returns the named tables under a key: [host.alice], [host.bob].
func (s *section) tables(key string) []*entry {
	e, ok := s.take(key)
	if !ok {
		return nil
	}
	if e.value.table == nil {
		s.wrong(key, e.value, "named tables, such as ["+key+".NAME]")
		return nil
	}
	var out []*entry
	for _, e := range e.value.table.entries {
		if e.value.table == nil {
			s.wrong(key+"."+e.key, e.value, "a table ["+key+".NAME]")
			continue
		}
		out = append(out, e)
	}
	return out
}

// list returns the tables of a list: [[event]], [[event]].
func (s *section) list(key string) []*table {
	e, ok := s.take(key)
	if !ok {
		return nil
	}
	if e.value.kind != toml.Array {
		s.wrong(key, e.value, "a list of tables, [["+key+"]]")
		return nil
	}
	var out []*table
	for _, v := range e.value.items {
		if v.table == nil {
			s.wrong(key, v, "a list of tables, [["+key+"]]")
			continue
		}
		out = append(out, v.table)
	}
	return out
}

// inline returns the table under a key.
func (s *section) inline(key string) (*table, bool) {
	e, ok := s.take(key)
	if !ok {
		return nil, false
	}
	if e.value.table == nil {
		s.wrong(key, e.value, "a table")
		return nil, false
	}
	return e.value.table, true
}
