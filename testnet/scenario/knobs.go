package scenario

import (
	"fmt"
	"strings"
	"time"

	"shipworm/testnet/nat"
)

// knobs reads what a NAT does otherwise than its profile.
func (p *parser) knobs(c *nat.Config, t *table) {
	s := p.section(t)
	word(s, "mapping", &c.Mapping)
	word(s, "filtering", &c.Filtering)
	word(s, "allocation", &c.Allocation)
	word(s, "hairpin", &c.Hairpin)
	word(s, "refresh", &c.Refresh)
	for _, d := range []struct {
		key string
		to  *time.Duration
	}{
		{"lifetime", &c.Lifetime}, {"lifetime_answered", &c.LifetimeAnswered},
		{"tcp_established", &c.TCPEstablished}, {"tcp_transitory", &c.TCPTransitory},
		{"icmp_lifetime", &c.ICMPLifetime},
	} {
		if v, ok := s.duration(d.key); ok {
			*d.to = v
		}
	}
	for _, n := range []struct {
		key string
		to  *uint16
	}{{"port_min", &c.PortMin}, {"port_max", &c.PortMax}} {
		if v, ok := s.integer(n.key, 1, 65535); ok {
			*n.to = uint16(v)
		}
	}
	for _, n := range []struct {
		key string
		to  *int
	}{{"max_mappings", &c.MaxMappings}, {"max_per_host", &c.MaxPerHost}, {"max_peers", &c.MaxPeers}} {
		if v, ok := s.integer(n.key, 1, 1<<30); ok {
			*n.to = int(v)
		}
	}
	for _, b := range []struct {
		key string
		to  *bool
	}{{"reject", &c.Reject}, {"parity", &c.Parity}, {"overlap", &c.Overlap}, {"arbitrary_pooling", &c.ArbitraryPooling}} {
		if s.find(b.key) != nil {
			*b.to = s.boolean(b.key)
		} else {
			s.known = append(s.known, b.key)
		}
	}
	s.finish()
}

// word reads one of the named values of a knob. They are those that the value
// itself prints; a hyphen stands for a space.
func word[T interface {
	~uint8
	fmt.Stringer
}](s *section, key string, to *T) {
	text, at, ok := s.text(key)
	if !ok {
		return
	}
	var words []string
	for v := T(0); ; v++ {
		w := strings.ReplaceAll(v.String(), " ", "-")
		if strings.HasSuffix(w, fmt.Sprintf("-%d", uint8(v))) { // past the last one
			break
		}
		if w == text {
			*to = v
			return
		}
		words = append(words, w)
	}
	s.add(at, "%s = %q: %s", key, text, oneOf(words))
}
