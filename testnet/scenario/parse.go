package scenario

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"

	"shipworm/testnet/nat"
)

// namePattern is what a host, NAT, adversary or program may be called: host names
// resolve in the laboratory.
var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

const nameWant = "want 1 to 32 of a-z, 0-9 and hyphens inside"

// Parse reads a scenario. What is wrong with it is a *FileError, which holds as
// many problems as could be found at once. It opens no file: a NAT cannot have
// a profile of its own.
func Parse(src []byte) (*Scenario, error) {
	return parse(src, func(string) (nat.Config, error) {
		return nat.Config{}, errors.New("want profile: the scenario itself was not read from a file")
	})
}

// Load reads a scenario file, and the profile files of its NATs, whose paths
// are relative to its folder. Errors are those of Parse, or of reading the
// file.
func Load(path string) (*Scenario, error) {
	if what := irregular(path); what != "" {
		return nil, &FileError{[]Problem{{1, 1, "this is " + what + ": want a file in TOML"}}}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, err
	}
	return parse(src, func(name string) (nat.Config, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(path), name)
		}
		const want = "want a profile file, its path relative to the scenario's folder"
		if what := irregular(name); what != "" {
			return nat.Config{}, fmt.Errorf("%s is %s: %s", name, what, want)
		}
		c, err := nat.LoadProfile(name)
		if err != nil {
			err = fmt.Errorf("%w: %s", err, want)
		}
		return c, err
	})
}

// irregular says what a path leads to that is no regular file; "" also if there
// is nothing. What waits for a writer would hold up whoever presses Ctrl-C, and
// the laboratory could not read it twice.
func irregular(path string) string {
	switch info, err := os.Stat(path); {
	case err != nil || info.Mode().IsRegular():
		return ""
	case info.IsDir():
		return "a folder"
	}
	return "no regular file"
}

func parse(src []byte, load func(string) (nat.Config, error)) (*Scenario, error) {
	tree, err := readTree(src)
	if err != nil {
		return nil, err
	}
	p := &parser{s: &Scenario{Limit: DefaultLimit, Seed: 1}, load: load}
	p.file(p.section(tree))
	if err := p.err(); err != nil {
		return nil, err
	}
	return p.s, nil
}

// parser builds a scenario.
type parser struct {
	problems
	s *Scenario
	// programTables are looked at before all of them are read.
	programTables []*entry
	load          func(path string) (nat.Config, error) // of a profile file
}

func (p *parser) file(s *section) {
	p.s.Title, _, _ = s.text("title")
	if n, ok := s.integer("seed", 1, math.MaxInt64); ok {
		p.s.Seed = uint64(n)
	}
	if d, ok := s.duration("limit"); ok && d > 0 {
		p.s.Limit = d
	} else if e := s.find("limit"); e != nil {
		if ok {
			p.add(e.at, "limit is 0: want the longest time that a run may take")
		}
		p.s.Limit = maxDuration // or all that follows would come too late
	}
	nats, hosts, adversaries := s.tables("nat"), s.tables("host"), s.tables("adversary")
	programs, events, expects := s.tables("program"), s.list("event"), s.list("expect")
	s.finish()
	p.network(nats, hosts, adversaries)
	if e := s.find("host"); e == nil || e.value.table != nil && len(e.value.table.entries) == 0 {
		p.add(s.at, "no host: want a table [host.NAME]")
	}
	p.programTables = programs
	p.programs(programs)
	p.events(events)
	p.expectations(expects)
	p.ports()
	p.idle()
}

// names returns the names of the nodes that satisfy ok.
func (p *parser) names(ok func(*Node) bool) []string {
	var names []string
	for _, n := range p.s.Nodes {
		if ok(n) {
			names = append(names, n.Name)
		}
	}
	return names
}

func isHost(n *Node) bool { return !n.IsNAT() && !n.Adversary }
func isNAT(n *Node) bool  { return n.IsNAT() }
func isNode(*Node) bool   { return true }

// node reads a key that names a node of a sort: "host", "NAT", or "host or NAT".
func (p *parser) node(s *section, key, sort string) (*Node, bool) {
	name, at, ok := s.text(key)
	if !ok {
		return nil, false
	}
	want := map[string]func(*Node) bool{"host": isHost, "NAT": isNAT}[sort]
	if want == nil {
		want = isNode
	}
	for _, n := range p.s.Nodes {
		if n.Name == name && want(n) {
			return n, true
		}
	}
	p.add(at, "%s = %q is no %s of this file: %s", key, name, sort, oneOf(p.names(want)))
	return nil, false
}

// need reports a key that is missing.
func (p *parser) need(s *section, key, want string) {
	if s.find(key) == nil {
		p.add(s.at, "%s is missing: want %s", key, want)
	}
}
