package matrix

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"shipworm/testnet/nat"
)

// A knob is one setting of a NAT that Bisect may change.
type knob struct {
	name   string
	get    func(*nat.Config) string
	values []setting
}

// setting is one position of a knob, the most open first.
type setting struct {
	text string
	set  func(*nat.Config)
}

func on(is bool) string {
	if is {
		return "on"
	}
	return "off"
}

// knobs are the settings in the order in which solutions are printed. What
// decides between traversal and failure only with more than one host behind a
// NAT, with other protocols, or with tables that are full, is left out.
func knobs() []knob {
	behaviors := func(set func(*nat.Config, nat.Behavior)) []setting {
		var out []setting
		for _, b := range []nat.Behavior{nat.EndpointIndependent, nat.AddressDependent, nat.AddressAndPortDependent} {
			out = append(out, setting{b.String(), func(c *nat.Config) { set(c, b) }})
		}
		return out
	}
	var allocations, hairpins, refreshes, lifetimes []setting
	for _, a := range []nat.Allocation{nat.Preserving, nat.Overloading, nat.Sequential, nat.Random} {
		allocations = append(allocations, setting{a.String(), func(c *nat.Config) { c.Allocation = a }})
	}
	for _, h := range []nat.Hairpin{nat.HairpinExternalSource, nat.HairpinInternalSource, nat.HairpinNone} {
		hairpins = append(hairpins, setting{h.String(), func(c *nat.Config) { c.Hairpin = h }})
	}
	for _, r := range []nat.Refresh{nat.RefreshBoth, nat.RefreshOutbound} {
		refreshes = append(refreshes, setting{r.String(), func(c *nat.Config) { c.Refresh = r }})
	}
	for _, d := range []time.Duration{nat.DefaultLifetime, 30 * time.Second} {
		lifetimes = append(lifetimes, setting{d.String(), func(c *nat.Config) { c.Lifetime, c.LifetimeAnswered = d, 0 }})
	}
	const udp = 17
	return []knob{
		{"UDP", func(c *nat.Config) string {
			if c.Block == udp {
				return "blocked"
			}
			return "let through"
		}, []setting{{"let through", func(c *nat.Config) {
			if c.Block == udp {
				c.Block = 0
			}
		}}}},
		{"blocked ports", func(c *nat.Config) string {
			if len(c.BlockPorts) == 0 {
				return "none"
			}
			return strings.Trim(fmt.Sprint(c.BlockPorts), "[]")
		}, []setting{{"none", func(c *nat.Config) { c.BlockPorts = nil }}}},
		{"mapping", func(c *nat.Config) string { return c.Mapping.String() }, behaviors(func(c *nat.Config, b nat.Behavior) {
			c.Mapping = b
			if b == nat.EndpointIndependent {
				// These have no meaning then, and New refuses them.
				c.Overlap, c.ReuseSource, c.EarlyInbound = false, false, false
			}
		})},
		{"filtering", func(c *nat.Config) string { return c.Filtering.String() },
			behaviors(func(c *nat.Config, b nat.Behavior) { c.Filtering = b })},
		{"allocation", func(c *nat.Config) string { return c.Allocation.String() }, allocations},
		{"overlap", func(c *nat.Config) string { return on(c.Overlap) }, []setting{
			{"on", func(c *nat.Config) { c.Overlap = true }}, {"off", func(c *nat.Config) { c.Overlap = false }},
		}},
		{"hairpin", func(c *nat.Config) string { return c.Hairpin.String() }, hairpins},
		{"lifetime", func(c *nat.Config) string {
			if c.Lifetime == 0 {
				return nat.DefaultLifetime.String()
			}
			return c.Lifetime.String()
		}, lifetimes},
		{"refresh", func(c *nat.Config) string { return c.Refresh.String() }, refreshes},
		{"reject", func(c *nat.Config) string { return on(c.Reject) }, []setting{
			{"off", func(c *nat.Config) { c.Reject = false }}, {"on", func(c *nat.Config) { c.Reject = true }},
		}},
		// Quirks can be mended; nobody needs to hear that adding one helps.
		{"early inbound", func(c *nat.Config) string { return on(c.EarlyInbound) },
			[]setting{{"off", func(c *nat.Config) { c.EarlyInbound = false }}}},
		{"ALG", func(c *nat.Config) string { return on(c.ALG) },
			[]setting{{"off", func(c *nat.Config) { c.ALG = false }}}},
		{"ICMP ends mapping", func(c *nat.Config) string { return on(c.ICMPEndsMapping) },
			[]setting{{"off", func(c *nat.Config) { c.ICMPEndsMapping = false }}}},
	}
}

// Adjust is one change of one knob of one NAT.
type Adjust struct {
	NAT  string `json:"nat,omitempty"` // "A", the caller's, or "B"; empty if there is but one
	Knob string `json:"knob"`          // mapping, filtering, allocation, ...
	Was  string `json:"was"`
	Is   string `json:"is"`
	set  func(*nat.Config)
}

// String returns the change in a few words.
func (a Adjust) String() string {
	of := ""
	if a.NAT != "" {
		of = " of " + a.NAT
	}
	return a.Knob + of + ": " + a.Is + " instead of " + a.Was
}

// adjustments returns every single change of a NAT. A NAT that does not
// translate has no mappings to change.
func adjustments(name string, c nat.Config, knobs []knob) []Adjust {
	var out []Adjust
	for _, k := range knobs {
		if c.NoTranslation && slices.Contains([]string{"mapping", "allocation", "overlap", "hairpin", "reject", "early inbound", "ALG", "ICMP ends mapping"}, k.name) {
			continue
		}
		was := k.get(&c)
		for _, v := range k.values {
			if v.text != was {
				out = append(out, Adjust{name, k.name, was, v.text, v.set})
			}
		}
	}
	return out
}
