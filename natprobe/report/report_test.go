package report

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var same = cmp.Options{
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
}

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// home is a home router as Linux makes it, everything measured.
func home() Report {
	return Report{
		Time:     time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Duration: Duration(297 * time.Millisecond),
		Servers: []Server{{Name: "stun.example.net", Addr: ap("198.51.100.1:3478"), Other: ap("198.51.100.2:3479"), Kind: RFC5780,
			Answered: true, RTT: Duration(50300 * time.Microsecond), Software: "shipworm\x1b[2J"}},
		Kind: RFC5780, Local: ap("192.168.1.23:51000"), Mapped: ap("203.0.113.7:51000"),
		Access: NAT, Mapping: EndpointIndependent, Filtering: AddressAndPortDependent,
		PortPreserving: Yes, Parity: Yes, Contiguity: Yes, Allocation: Allocation{Kind: Preserving},
		Pooling: Paired, Pool: 1, Deterministic: No, Collision: Moved,
		Hairpin:   Hairpin{Yes, ExternalSource},
		Lifetimes: Lifetimes{Single: Bound{Duration(25 * time.Second), Duration(30 * time.Second)}, Stream: Bound{Alive: Duration(120 * time.Second)}, InboundRefresh: Yes},
		Fragments: Fragments{Yes, Yes}, ALG: No, EarlyInbound: Yes,
		Layers: []Layer{{1, netip.MustParseAddr("192.168.1.1")}, {2, netip.Addr{}}, {3, netip.MustParseAddr("203.0.113.254")}},
		CGNAT:  No, MTU: 1492, Packets: Packets{31, 18, 1},
		Evidence: []Evidence{{"mapping", "198.51.100.1:3478, 198.51.100.2:3478 and 198.51.100.2:3479 see 203.0.113.7:51000"}},
	}
}

func TestJSONRoundTrip(t *testing.T) {
	for name, r := range map[string]Report{"empty": {}, "home": home(), "with IPv6": {IPv6: &Report{Access: Open}}} {
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var got Report
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%s: %v in %s", name, err, b)
		}
		if d := cmp.Diff(r, got, same); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestJSONRefuses(t *testing.T) {
	for _, s := range []string{`{}`, `{"schema":2}`, `{"schema":1,"access":"fine"}`, `{"schema":1,"duration":"soon"}`, `[]`} {
		var r Report
		if err := json.Unmarshal([]byte(s), &r); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", s, err)
		}
	}
}

// TestNames against the table of RFC 3489, 5 and what netsh prints.
func TestNames(t *testing.T) {
	const eim, adm, apdm, pdm = EndpointIndependent, AddressDependent, AddressAndPortDependent, PortDependent
	for _, c := range []struct {
		access             Access
		mapping, filtering Behavior
		classic, netsh     string
	}{
		{Open, eim, eim, "open internet", "none (global connectivity)"},
		{Firewall, eim, apdm, "symmetric UDP firewall", "none (global connectivity)"},
		{Blocked, 0, 0, "UDP blocked", "unknown"},
		{AccessUnknown, 0, 0, "", "unknown"},
		{NAT, eim, eim, "full cone", "cone"},
		{NAT, eim, adm, "restricted cone", "restricted"},
		{NAT, eim, apdm, "port restricted cone", "restricted (port)"},
		{NAT, eim, 0, "", "unknown"},
		{NAT, adm, apdm, "symmetric", "symmetric (address)"},
		{NAT, apdm, adm, "symmetric", "symmetric (port)"},
		{NAT, pdm, apdm, "symmetric", "symmetric (port)"},
		{NAT, apdm, eim, "", "symmetric (port)"}, // nobody's symmetric NAT lets everybody in
		{NAT, apdm, 0, "symmetric", "symmetric (port)"},
		{NAT, Dependent, 0, "symmetric", "symmetric"},
		{NAT, 0, eim, "", "unknown"},
	} {
		r := Report{Access: c.access, Mapping: c.mapping, Filtering: c.filtering}
		if a, b := r.Classic(), r.Netsh(); a != c.classic || b != c.netsh {
			t.Errorf("%v, mapping %v, filtering %v: %q and %q, want %q and %q", c.access, c.mapping, c.filtering, a, b, c.classic, c.netsh)
		}
	}
	inside := Report{Access: Open, Local: ap("10.1.2.3:5"), Mapped: ap("10.1.2.3:5"), Mapping: eim, Filtering: eim}
	if inside.Netsh() != "unknown" || inside.Teredo() != "Nothing can be said." || inside.RemoteAssistance() != "Nothing can be said." {
		t.Errorf("a server inside: %q, %q, %q", inside.Netsh(), inside.Teredo(), inside.RemoteAssistance())
	}
	r := Report{Local: ap("203.0.113.7:5"), Mapped: ap("203.0.113.7:5"), Mapping: eim}
	if r.Classic() != "" || r.Netsh() != "none (global connectivity)" {
		t.Errorf("no NAT, perhaps a firewall: %q and %q", r.Classic(), r.Netsh())
	}
	// What Teredo and netsh speak of is IPv4.
	for access, session := range map[Access]string{
		Open: "Works with everybody who has IPv6.", Firewall: "Works with everybody who has IPv6, once both sides have sent.",
	} {
		r := Report{Access: access, Local: ap("[2001:db8::7]:5"), Mapped: ap("[2001:db8::7]:5"), Mapping: eim}
		if r.Netsh() != "unknown" || !strings.HasPrefix(r.Teredo(), "Needs IPv4") || r.RemoteAssistance() != session {
			t.Errorf("IPv6 alone, %v: %q, %q, %q", access, r.Netsh(), r.Teredo(), r.RemoteAssistance())
		}
	}
}
