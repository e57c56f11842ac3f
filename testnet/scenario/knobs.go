package scenario

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"shipworm/internal/toml"
	"shipworm/testnet/nat"
)

// knobs reads what a NAT does otherwise than its profile. The words are those
// of profile files (nat.Config.MarshalJSON), so that a knob which the engine
// learns is one of scenarios too.
func (p *parser) knobs(c *nat.Config, t *table) {
	all := map[string]json.RawMessage{}
	b, err := json.Marshal(*c)
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil {
		p.add(t.at, "knobs: %v", err)
		return
	}
	var names []string
	for _, e := range t.entries {
		if names == nil {
			names = knobNames()
		}
		known := false
		for _, n := range names {
			known = known || n == e.key
		}
		if !known {
			p.add(e.at, "no such knob: %q: %s", e.key, oneOf(names))
			continue
		}
		before := all[e.key]
		all[e.key] = e.value.json()
		if b, err = json.Marshal(all); err == nil {
			err = json.Unmarshal(b, c)
		}
		if err == nil {
			continue
		}
		p.add(e.value.at, "%s: %s", e.key, knobError(e.value, err))
		delete(all, e.key)
		if before != nil {
			all[e.key] = before
		}
	}
}

// knobError says what is expected of a knob, in the words of the file.
func knobError(v value, err error) string {
	var wrong *json.UnmarshalTypeError
	if strings.Contains(err.Error(), "invalid duration") {
		return fmt.Sprintf("%q: want %s", v.text, durationWant)
	}
	if !errors.As(err, &wrong) {
		message := err.Error()
		for _, prefix := range []string{"nat: profile: ", "nat: ", "time: "} {
			message = strings.TrimPrefix(message, prefix)
		}
		return message
	}
	want := "a string"
	switch k := wrong.Type.Kind(); {
	case reflect.PointerTo(wrong.Type).Implements(reflect.TypeFor[interface{ UnmarshalText([]byte) error }]()):
	case k == reflect.Bool:
		want = "true or false"
	case k == reflect.Slice:
		want = "a list"
	case k == reflect.Struct || k == reflect.Map:
		want = "a table"
	case wrong.Type.Name() == "duration":
	case k >= reflect.Uint && k <= reflect.Uint64:
		want = fmt.Sprintf("a whole number from 0 to %d", uint64(1)<<wrong.Type.Bits()-1)
	case k >= reflect.Int && k <= reflect.Int64:
		want = "a whole number"
	}
	if v.kind == toml.Integer && strings.Contains(want, "number") {
		return fmt.Sprintf("%s: want %s", v.text, want)
	}
	return fmt.Sprintf("it is %s: want %s", v.typeName(), want)
}

// json returns the value as JSON.
func (v value) json() json.RawMessage {
	var b []byte
	switch v.kind {
	case toml.Integer:
		n, err := strconv.ParseInt(v.text, 0, 64)
		if err != nil {
			return json.RawMessage("null")
		}
		return strconv.AppendInt(nil, n, 10)
	case toml.Float:
		f, err := strconv.ParseFloat(strings.ReplaceAll(v.text, "_", ""), 64)
		if err != nil {
			return json.RawMessage("null")
		}
		if b, err = json.Marshal(f); err != nil { // infinite: no knob is
			return json.RawMessage(`{}`)
		}
		return b
	case toml.Bool:
		return json.RawMessage(v.text)
	case toml.Array:
		list := make([]json.RawMessage, len(v.items))
		for i, x := range v.items {
			list[i] = x.json()
		}
		b, _ = json.Marshal(list) // its parts are JSON
		return b
	case toml.Table, toml.InlineTable:
		m := map[string]json.RawMessage{}
		for _, e := range v.table.entries {
			m[e.key] = e.value.json()
		}
		b, _ = json.Marshal(m)
		return b
	}
	b, _ = json.Marshal(v.text) // strings, and dates as what they look like
	return b
}

// knobNames returns the names of all knobs: those of the fields of nat.Config
// that a profile file may have.
func knobNames() []string {
	var names []string
	t := reflect.TypeFor[nat.Config]()
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			name = snake(f.Name)
		}
		if name == "external" || name == "seed" { // the node's, the run's
			continue
		}
		// A null changes nothing, but an unknown name is an error.
		probe := fmt.Sprintf(`{"schema": %d, %q: null}`, nat.SchemaVersion, name)
		if json.Unmarshal([]byte(probe), new(nat.Config)) == nil {
			names = append(names, name)
		}
	}
	return names
}

// snake turns LifetimeAnswered and TCPReset into lifetime_answered and
// tcp_reset.
func snake(name string) string {
	upper := func(c byte) bool { return c >= 'A' && c <= 'Z' }
	var b []byte
	for i := range len(name) {
		c := name[i]
		if !upper(c) {
			b = append(b, c)
			continue
		}
		if i > 0 && (!upper(name[i-1]) || (i+1 < len(name) && !upper(name[i+1]))) {
			b = append(b, '_')
		}
		b = append(b, c|0x20)
	}
	return string(b)
}
