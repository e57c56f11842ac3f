package nat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"
)

// SchemaVersion is the version of profile files that this package reads and
// writes.
const SchemaVersion = 1

// maxProfile bounds a profile file, in bytes.
const maxProfile = 1 << 20

// plain is Config without its methods; profileFile's own fields come before
// those of the same name in it.
type plain Config

// profileFile is a Config as it stands in a file: times in Go's spelling.
type profileFile struct {
	Schema int `json:"schema"`
	plain
	Lifetime         duration       `json:"lifetime,omitzero"`
	LifetimeAnswered duration       `json:"lifetime_answered,omitzero"`
	AnsweredAge      duration       `json:"answered_age,omitzero"`
	PortLifetimes    []portLifetime `json:"port_lifetimes,omitempty"`
	TCPEstablished   duration       `json:"tcp_established,omitzero"`
	TCPTransitory    duration       `json:"tcp_transitory,omitzero"`
	TCPOpening       duration       `json:"tcp_opening,omitzero"`
	TCPClosing       duration       `json:"tcp_closing,omitzero"`
	TCPReset         duration       `json:"tcp_reset,omitzero"`
	ICMPLifetime     duration       `json:"icmp_lifetime,omitzero"`
	OtherLifetime    duration       `json:"other_lifetime,omitzero"`
	Quarantine       duration       `json:"quarantine,omitzero"`
	FragmentLifetime duration       `json:"fragment_lifetime,omitzero"`
}

type portLifetime struct {
	Port     uint16   `json:"port"`
	Lifetime duration `json:"lifetime"`
}

type duration time.Duration

func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (d *duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = duration(v)
	return err
}

// times pairs the times of a Config with those of its file.
func (c *Config) times(f *profileFile) map[*time.Duration]*duration {
	return map[*time.Duration]*duration{
		&c.Lifetime: &f.Lifetime, &c.LifetimeAnswered: &f.LifetimeAnswered, &c.AnsweredAge: &f.AnsweredAge,
		&c.TCPEstablished: &f.TCPEstablished, &c.TCPTransitory: &f.TCPTransitory, &c.TCPOpening: &f.TCPOpening,
		&c.TCPClosing: &f.TCPClosing, &c.TCPReset: &f.TCPReset, &c.ICMPLifetime: &f.ICMPLifetime,
		&c.OtherLifetime: &f.OtherLifetime, &c.Quarantine: &f.Quarantine, &c.FragmentLifetime: &f.FragmentLifetime,
	}
}

// MarshalJSON writes the configuration as a profile file: an object with
// "schema": 1, the knobs under the words of RFC 4787 and its relatives,
// behaviours spelled out, times as in "2m0s". Knobs at their default are left
// out, but for mapping, filtering, allocation, refresh, hairpin and fragments.
func (c Config) MarshalJSON() ([]byte, error) {
	f := profileFile{Schema: SchemaVersion, plain: plain(c)}
	for v, d := range c.times(&f) {
		*d = duration(*v)
	}
	for _, p := range c.PortLifetimes {
		f.PortLifetimes = append(f.PortLifetimes, portLifetime{p.Port, duration(p.Lifetime)})
	}
	return json.Marshal(f)
}

// UnmarshalJSON reads what MarshalJSON writes. It is strict: an unknown knob,
// behaviour or schema is an error. It does not Validate, since External is
// usually added later.
func (c *Config) UnmarshalJSON(b []byte) error {
	var f profileFile
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return fmt.Errorf("nat: profile: %w", err)
	}
	if f.Schema != SchemaVersion {
		return fmt.Errorf("nat: profile of schema %d, expected \"schema\": %d", f.Schema, SchemaVersion)
	}
	*c = Config(f.plain)
	for v, d := range c.times(&f) {
		*v = time.Duration(*d)
	}
	for _, p := range f.PortLifetimes {
		c.PortLifetimes = append(c.PortLifetimes, PortLifetime{p.Port, time.Duration(p.Lifetime)})
	}
	return nil
}

// ErrNoProfile is that there is no profile of a name.
var ErrNoProfile = errors.New("nat: no such profile")

// ParseProfile is Profile with an error that lists the names there are.
func ParseProfile(name string) (Config, error) {
	c, ok := Profile(name)
	if !ok {
		return Config{}, fmt.Errorf("%w: %q; there are %s", ErrNoProfile, name, strings.Join(Profiles(), ", "))
	}
	return c, nil
}

// ReadProfile reads a profile file to its end, at most a mebibyte, and validates
// what it says. External need not be in it.
func ReadProfile(r io.Reader) (Config, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxProfile+1))
	if err != nil {
		return Config{}, fmt.Errorf("nat: profile: %w", err)
	}
	if len(b) > maxProfile {
		return Config{}, fmt.Errorf("nat: profile: more than %d bytes", maxProfile)
	}
	var c Config
	if err := json.Unmarshal(b, &c); err != nil {
		return Config{}, locate(b, err)
	}
	whole := c
	if len(c.External) == 0 && !c.NoTranslation {
		whole.External = []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, 1})} // for this check alone
	}
	if err := whole.Validate(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// locate adds line and column to an error of the JSON syntax.
func locate(b []byte, err error) error {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) || syntax.Offset > int64(len(b)) {
		return err
	}
	before := b[:max(0, syntax.Offset-1)]
	line := bytes.Count(before, []byte("\n")) + 1
	return fmt.Errorf("line %d, column %d: %w", line, len(before)-bytes.LastIndexByte(before, '\n'), err)
}
