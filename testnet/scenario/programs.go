package scenario

import (
	"maps"
	"strconv"
	"strings"
	"time"

	"shipworm/internal/toml"
)

// Defaults of the pings, those of ping(8) but for the wait.
const (
	defaultCount    = 5
	defaultInterval = time.Second
	defaultWait     = 10 * time.Second
	defaultSize     = 56
	echoPort        = 7 // RFC 862
)

var kinds = []string{string(TeredoServer), string(TeredoClient), string(TeredoPing), string(UDPEcho), string(UDPPing), string(PortMap)}

func (p *parser) programs(tables []*entry) {
	sections := map[*Program]*section{}
	for _, e := range tables {
		s := p.section(e.value.table)
		if !namePattern.MatchString(e.key) {
			p.add(e.at, "%q is no name of a program: %s", e.key, nameWant)
			continue
		}
		g := &Program{Name: e.key, at: e.at}
		sections[g] = s
		p.s.Programs = append(p.s.Programs, g)
	}
	for _, g := range p.s.Programs {
		p.program(g, sections[g])
	}
	p.sequence()
}

func (p *parser) program(g *Program, s *section) {
	p.need(s, "host", "the host that it runs on")
	g.Host, _ = p.node(s, "host", "host")
	g.Start = p.instant(s, "start")
	if g.After, _ = p.programNamed(s, "after"); g.After != nil {
		g.afterAt = s.find("after").value.at
	}
	run, runAt, hasRun := s.text("run")
	argv, hasArgs := s.texts("exec")
	switch {
	case s.find("run") == nil && s.find("exec") == nil:
		p.add(s.at, "run or exec is missing: want run = one of our own programs, or exec = a command and its arguments")
		return
	case s.find("run") != nil && s.find("exec") != nil:
		p.add(s.find("exec").at, "%s has both run and exec: want one of them", g.Name)
		return
	case hasRun:
		g.Kind = Kind(run)
	case hasArgs:
		g.Kind = Other
	default:
		return // of a wrong type, which is reported
	}
	switch g.Kind {
	case Other:
		for _, v := range argv {
			g.Args = append(g.Args, v.text)
		}
		e := s.find("exec")
		g.execAt = e.value.at
		if len(g.Args) == 0 || g.Args[0] == "" {
			p.add(e.at, "exec names no program: want [\"program\", \"argument\", ...]")
		} else if e.value.kind == toml.String && strings.Contains(g.Args[0], " ") {
			p.add(e.value.at, "exec = %q: no shell takes it apart: want [\"program\", \"argument\", ...]", g.Args[0])
		}
		p.other(g, s)
	case TeredoServer:
	case TeredoClient, TeredoPing:
		p.need(s, "server", "the host of a Teredo server")
		g.Server, _ = p.node(s, "server", "host")
		if g.Server != nil && !p.runs(g.Server, TeredoServer) {
			p.add(s.find("server").value.at, "no program on %s is a teredo-server: want one there", g.Server.Name)
		}
		if g.Kind == TeredoPing {
			p.ping(g, s)
			if g.To != nil && !p.runs(g.To, TeredoClient) {
				p.add(s.find("to").value.at, "no program on %s is a teredo-client: want one there", g.To.Name)
			}
		}
	case PortMap:
		p.need(s, "port", "a UDP port of the host, from 1024")
		if n, ok := s.integer("port", 1024, 65535); ok {
			g.Port = uint16(n)
		}
		if in := g.Host; in != nil && (in.Behind == nil || in.Behind.IGD.Name == "") {
			p.add(s.find("host").value.at, "%s is behind no NAT that opens ports: want igd there", in.Name)
		}
	case UDPEcho, UDPPing:
		g.Port = echoPort
		if n, ok := s.integer("port", 1, 65535); ok {
			g.Port = uint16(n)
		}
		if g.Kind == UDPPing {
			p.ping(g, s)
			p.family(g, s)
		}
	default:
		p.add(runAt, "no program of ours is called %q: %s; exec runs other programs", run, oneOf(kinds))
		return
	}
	s.finish()
}

// runs reports whether a program of the kind is to run on a host. The table
// of a program may stand below, so it looks at the file.
func (p *parser) runs(h *Node, k Kind) bool {
	for _, e := range p.programTables {
		host, run := e.value.table.find("host"), e.value.table.find("run")
		if host != nil && run != nil && host.value.text == h.Name && run.value.text == string(k) {
			return true
		}
	}
	return false
}

// family reads which addresses a udp-ping uses.
func (p *parser) family(g *Program, s *section) {
	n, ok := s.integer("family", 4, 6)
	if !ok || n == 4 {
		return
	}
	at := s.find("family").value.at
	if n == 5 {
		p.add(at, "family = 5: want 4 or 6")
		return
	}
	g.IPv6 = true
	for _, h := range []*Node{g.Host, g.To} {
		if h != nil && len(h.Addrs6) == 0 {
			p.add(at, "%s has no IPv6 address: want address there, or prefix at its NAT", h.Name)
		}
	}
}

func (p *parser) ping(g *Program, s *section) {
	p.need(s, "to", "the host to ping")
	sort := "host"
	if g.Kind == UDPPing {
		sort = "host or NAT"
	}
	g.To, _ = p.node(s, "to", sort)
	if g.To != nil && g.To.IsNAT() && g.To.NAT.NoTranslation {
		p.add(s.find("to").value.at, "%s does not translate, and so has no address to ping: want a host", g.To.Name)
	}
	if g.To != nil && g.To == g.Host {
		p.add(s.find("to").value.at, "%s pings its own host: want another one", g.Name)
	}
	g.Count, g.Interval, g.Wait, g.Size = defaultCount, defaultInterval, defaultWait, defaultSize
	if n, ok := s.integer("count", 1, 100_000); ok {
		g.Count = int(n)
	}
	for _, d := range []struct {
		key string
		to  *time.Duration
	}{{"interval", &g.Interval}, {"wait", &g.Wait}} {
		v, ok := s.duration(d.key)
		switch {
		case ok && (v < 10*time.Millisecond || v > time.Hour):
			p.add(s.find(d.key).value.at, "%s = %v: want 10ms to 1h", d.key, v)
		case ok:
			*d.to = v
		}
	}
	if n, ok := s.integer("size", 16, 1200); ok {
		g.Size = int(n)
	}
}

func (p *parser) other(g *Program, s *section) {
	g.Service = s.boolean("service")
	text, at, ok := s.text("listens")
	if !ok {
		return
	}
	network, number, _ := strings.Cut(text, "/")
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil || port == 0 || (network != "tcp" && network != "udp") {
		p.add(at, "listens = %q: want a port such as \"tcp/80\" or \"udp/53\"", text)
		return
	}
	g.Listen = Listen{network, uint16(port)}
}

// programNamed reads a key that names a program.
func (p *parser) programNamed(s *section, key string) (*Program, bool) {
	name, at, ok := s.text(key)
	if !ok {
		return nil, false
	}
	var names []string
	for _, g := range p.s.Programs {
		if g.Name == name {
			return g, true
		}
		names = append(names, g.Name)
	}
	p.add(at, "%s = %q is no program of this file: %s", key, name, oneOf(names))
	return nil, false
}

// sequence reports programs that wait for themselves, each ring once.
func (p *parser) sequence() {
	found := map[*Program]bool{}
	for _, g := range p.s.Programs {
		seen, way := map[*Program]bool{}, g.Name
		for at := g; at.After != nil && !seen[at] && !found[at]; at = at.After {
			seen[at] = true
			way += " after " + at.After.Name
			if at.After == g {
				p.add(g.afterAt, "%s waits for itself (%s): want a chain that ends", g.Name, way)
				maps.Copy(found, seen)
			}
		}
	}
}
