package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs:\n%s", path, got)
	}
}

func blocked() Report {
	return Report{
		Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Duration: Duration(1900 * time.Millisecond),
		Servers: []Server{{Addr: ap("198.51.100.1:3478")}}, Access: Blocked, Silence: UDPBlocked, Packets: Packets{Sent: 9},
	}
}

// office is a network with a symmetric NAT behind a carrier's.
func office() Report {
	r := home()
	r.Mapping, r.PortPreserving, r.Parity, r.Contiguity, r.Collision = AddressAndPortDependent, No, No, No, 0
	r.Allocation = Allocation{Kind: Sequential, Delta: 1, Next: 40123, Predicted: Yes}
	r.Hairpin, r.Lifetimes, r.EarlyInbound, r.CGNAT, r.MTU = Hairpin{No, 0}, Lifetimes{}, NotTested, Yes, 1280
	r.Layers[1].Addr = ap("100.64.0.1:1").Addr()
	r.IPv6 = &Report{Servers: []Server{{Addr: ap("[2001:db8::1]:3478"), Kind: RFC5780, Answered: true}},
		Local: ap("[2001:db8:1::5]:51000"), Mapped: ap("[2001:db8:1::5]:51000"), Access: Firewall, Mapping: EndpointIndependent, Filtering: AddressAndPortDependent}
	return r
}

// TestText: the server's SOFTWARE holds an escape sequence that must not reach
// the terminal. N-06
func TestText(t *testing.T) {
	half := Report{Servers: home().Servers, Access: NAT, Mapped: ap("203.0.113.7:51000"), Evidence: []Evidence{{"filtering", "the server has no\x1b other address"}}}
	for name, r := range map[string]Report{"home": home(), "office": office(), "blocked": blocked(), "unknown": half} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := r.WriteText(&b); err != nil {
				t.Fatal(err)
			}
			golden(t, name+".golden", b.Bytes())
			if bytes.ContainsRune(b.Bytes(), 0x1b) {
				t.Error("an escape sequence of the server's")
			}
			for _, row := range strings.Split(b.String(), "\n") {
				if len(row) > textWidth || strings.TrimRight(row, " ") != row {
					t.Errorf("too long, or space at its end: %q", row)
				}
			}
		})
	}
}

// TestJSON pins schema 1.
func TestJSON(t *testing.T) {
	for name, r := range map[string]Report{"home": home(), "blocked": blocked()} {
		b, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".json.golden", append(b, '\n'))
	}
}

// TestEverySentence: each value has its sentences.
func TestEverySentence(t *testing.T) {
	for i := range accesses {
		if accessWords[Access(i)] == "" || accessSentences[Access(i)] == "" {
			t.Errorf("access %v", Access(i))
		}
	}
	for i := range behaviors {
		if mappingSentences[Behavior(i)] == "" || filteringSentences[Behavior(i)] == "" && Behavior(i) != Dependent {
			t.Errorf("behaviour %v", Behavior(i))
		}
		for j := range behaviors {
			for k := range accesses {
				r := Report{Access: Access(k), Mapping: Behavior(i), Filtering: Behavior(j)}
				if r.Teredo() == "" || r.RemoteAssistance() == "" || classicSentence(&r) == "" {
					t.Errorf("%v, %v, %v", r.Access, r.Mapping, r.Filtering)
				}
			}
		}
	}
	for i := range kinds {
		if kindWords[Kind(i)] == "" {
			t.Errorf("kind %v", Kind(i))
		}
	}
	for i := range silences[1:] {
		if silenceSentences[Silence(i+1)] == "" {
			t.Errorf("silence %v", Silence(i+1))
		}
	}
}

// TestRedact: no address, port or name of the report is in what is left of it,
// while the server's port and what is inside stay recognisable. N-06
func TestRedact(t *testing.T) {
	r := office()
	r.Evidence = append(r.Evidence, Evidence{"mapping", "[2001:db8:77::5]:51000, 2001:db8:77::5 and port 51000, from 192.168.1.23; 51 of 60."})
	var b bytes.Buffer
	red := r.Redact()
	if err := red.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	j, err := red.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{b.String(), string(j)} {
		if m := regexp.MustCompile(`203\.0|198\.51|192\.168|100\.64\.0\.1:|db8:1|db8:77|51000|40123|stun\.example`).FindAllString(text, -1); m != nil {
			t.Errorf("left: %q in %s", m, text)
		}
	}
	if want := "[2001:db8::1]:"; !strings.Contains(string(j), want) || !strings.Contains(string(j), "51 of 60.") || !strings.Contains(string(j), "192.0.2.1:3478") {
		t.Errorf("want %s and others in %s", want, j)
	}
	if red.Local.Addr().IsPrivate() != true || r.Evidence[0].Text == red.Evidence[0].Text || r.Servers[0].Name == "" {
		t.Errorf("%v, %v", red.Local, red.Evidence)
	}
	if again := red.Redact(); again.Mapped.Addr() != red.Mapped.Addr() {
		t.Error("redacting twice changes addresses")
	}
}

func TestChanges(t *testing.T) {
	from, to := home(), home()
	if got := Changes(&from, &to); got != nil {
		t.Errorf("no change: %q", got)
	}
	to.Local, to.Mapped = ap("192.168.1.23:9"), ap("203.0.113.8:9")
	to.Filtering, to.Hairpin.Verdict, to.Mapping = EndpointIndependent, NotTested, BehaviorUnknown
	to.IPv6 = &Report{}
	want := []string{
		"external address: 203.0.113.8, was 203.0.113.7",
		"filtering: endpoint-independent, was address-and-port-dependent",
		"IPv6: there is some now",
	}
	if got := Changes(&from, &to); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q", got)
	}
	gone := blocked()
	want = []string{"access: blocked, was nat", "no server answers any more"}
	if got := Changes(&from, &gone); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q", got)
	}
	// What was different before and after an outage is told after it, and once.
	back := home()
	back.Mapped, back.Filtering = ap("203.0.113.8:9"), EndpointIndependent
	out := Carry(&from, &gone)
	want = []string{"access: nat, was blocked", "servers answer again", "external address: 203.0.113.8, was 203.0.113.7",
		"filtering: endpoint-independent, was address-and-port-dependent"}
	if got := Changes(out, &back); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q", got)
	}
	if got := Changes(Carry(out, &back), &back); got != nil {
		t.Errorf("told again: %q", got)
	}
}
