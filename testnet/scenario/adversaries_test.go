package scenario

import (
	"strings"
	"testing"
)

// Each kind of adversary does what its section says, where and when it says it,
// and the result tells what it did. (L-03)
func TestAdversaries(t *testing.T) {
	tests := []struct {
		name, section   string
		answers         int    // to pc's 100 pings in 10 s
		sent, swallowed uint64 // by the adversary
		reason          string // of drops that only it causes
		drops           string // how many
	}{
		{"flooder", "kind = \"flooder\"\nto = \"web\"\nrate = 50\nsources = \"198.18.0.0/15\"\nat = \"1s\"\nuntil = \"3.0005s\"\n",
			100, 100, 0, "no host has this address", "min = 100\nmax = 100"},
		{"flooder of a closed port", "kind = \"flooder\"\nto = \"web\"\nport = 9\nrate = 50\nsize = 1\nuntil = \"1.0005s\"\n",
			100, 50, 0, "no socket on this port", "min = 50"},
		{"spoofer whose answers go to another", "kind = \"spoofer\"\nto = \"web\"\nas = \"home\"\nrate = 20\nuntil = \"2.0005s\"\n",
			100, 40, 0, "no mapping for the destination", "min = 40\nmax = 40"},
		{"spoofer behind a NAT", "kind = \"spoofer\"\nbehind = \"home\"\nto = \"web\"\nas = \"pc\"\nas_port = 4000\nrate = 20\nuntil = \"2.0005s\"\n",
			100, 40, 0, "no socket on this port", "min = 40"},
		{"slow loris", "kind = \"slow-loris\"\nto = \"web\"\nconversations = 10\ninterval = \"2s\"\nuntil = \"3.95s\"\n",
			100, 20, 0, "lost", "max = 0"},
		{"slow loris behind a NAT", "kind = \"slow-loris\"\nbehind = \"home\"\nto = \"web\"\nconversations = 10\ninterval = \"2s\"\nuntil = \"3.95s\"\n",
			100, 20, 0, "lost", "max = 0"},
		{"replayer", "kind = \"replayer\"\non = \"home\"\nkeep = 30\n",
			100, 30, 0, "lost", "max = 0"},
		{"liar", "kind = \"icmp-liar\"\non = \"pc\"\nuntil = \"950ms\"\n",
			100, 20 * 22, 0, "lost", "max = 0"},
		{"black hole", "kind = \"black-hole\"\non = \"pc\"\nat = \"1.05s\"\nuntil = \"3.05s\"\n",
			80, 0, 20, "swallowed by eve", "min = 20\nmax = 20"},
		{"black hole for answers", "kind = \"black-hole\"\non = \"home\"\ndirection = \"down\"\nremote = \"web\"\nat = \"1.05s\"\nuntil = \"2.05s\"\n",
			90, 0, 10, "swallowed by eve", "min = 10\nmax = 10"},
		{"black hole for requests, while an answer passes", "kind = \"black-hole\"\non = \"home\"\ndirection = \"up\"\nat = \"1.01s\"\nuntil = \"1.05s\"\n",
			100, 0, 0, "swallowed by eve", "max = 0"},
		{"black hole for somebody else", "kind = \"black-hole\"\non = \"web\"\nremote = \"pc\"\n",
			100, 0, 0, "swallowed by eve", "max = 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := simulate(t, pings+"[adversary.eve]\n"+tt.section+"[[expect]]\ndropped = \""+tt.reason+"\"\n"+tt.drops+"\n", Options{})
			check(t, r, VerdictHeld)
			if n := len(r.Programs[1].RTTs); n != tt.answers {
				t.Errorf("%d answers, want %d", n, tt.answers)
			}
			if eve := r.Adversaries[0]; eve.Sent != tt.sent || eve.Swallowed != tt.swallowed {
				t.Errorf("%+v, want %d packets sent and %d swallowed", eve, tt.sent, tt.swallowed)
			}
		})
	}
}

// The adversary's host is a node as any other to events and expectations, and
// the run waits for an adversary that has not begun.
func TestAdversaryNode(t *testing.T) {
	file := strings.Replace(pings, "count = 100", "count = 5", 1) + `
[adversary.eve]
kind = "flooder"
address = "192.0.2.66"
to = "web"
rate = 100
at = "2s"
until = "4s"
[[event]]
at = "3s"
unplug = "eve"
[[expect]]
dropped = "lost on the line"
at = "eve"
min = 90
`
	r := simulate(t, file, Options{})
	check(t, r, VerdictHeld)
	if eve := r.Adversaries[0]; eve.Node != "eve" || eve.Sent < 199 {
		t.Errorf("%+v, want 200 packets sent", eve)
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), "foe      eve: flooder, ") {
		t.Errorf("%v\n%s", err, text.String())
	}
}

func TestBadAdversaries(t *testing.T) {
	const kinds = "flooder, spoofer, slow-loris, replayer, icmp-liar, black-hole"
	tests := []struct{ name, section, want string }{
		{"no kind", "", `7:12: kind is missing: want one of ` + kinds},
		{"unknown kind", "kind = \"floder\"\n", `8:8: no such adversary: "floder": want ` + kinds},
		{"kind of a wrong type", "kind = 1\n", `8:8: kind is an integer: want a string`},
		{"no target", "kind = \"flooder\"\n", `7:12: to is missing: want the node that it sends to`},
		{"no such target", "kind = \"flooder\"\nto = \"x\"\n", `9:6: to = "x" is no host or NAT of this file: want a, b, n, c, e`},
		{"itself", "kind = \"flooder\"\nto = \"e\"\n", `9:6: e sends to itself: want another node`},
		{"rate", "kind = \"flooder\"\nto = \"a\"\nrate = 10_001\n", `10:8: rate = 10_001: want 1 to 10000`},
		{"sources", "kind = \"flooder\"\nto = \"a\"\nsources = \"2001:db8::/32\"\n",
			`10:11: sources = "2001:db8::/32": want an IPv4 network of up to 30 bits, such as "198.18.0.0/15"`},
		{"key of another kind", "kind = \"flooder\"\nto = \"a\"\nkeep = 5\n",
			`10:1: unknown key "keep": want kind, behind, link, address, at, until, to, port, size, rate, sources`},
		{"nobody's name", "kind = \"spoofer\"\nto = \"a\"\n", `7:12: as is missing: want the node in whose name it sends`},
		{"too fast for a loris", "kind = \"slow-loris\"\nto = \"a\"\ninterval = \"10ms\"\n", `10:12: interval = 10ms: want 1s or more`},
		{"no line", "kind = \"replayer\"\n", `7:12: on is missing: want the node on whose line it sits`},
		{"no such line", "kind = \"icmp-liar\"\non = \"e\"\n", `9:6: on = "e" is no host or NAT of this file: want a, b, n, c`},
		{"a host for who sits on a line", "kind = \"icmp-liar\"\non = \"a\"\naddress = \"192.0.2.1\"\n", `10:1: unknown key "address": want kind, at, until, on`},
		{"direction", "kind = \"black-hole\"\non = \"a\"\ndirection = \"left\"\n", `10:13: direction = "left": want "both", "up" or "down"`},
		{"until", "kind = \"icmp-liar\"\non = \"a\"\nat = \"5s\"\nuntil = \"4s\"\n", `11:9: until = 4s is not after at = 5s: want a later time`},
		{"after the end", "kind = \"icmp-liar\"\non = \"a\"\nat = \"60s\"\n",
			`10:6: at = 1m0s, and the run is over at 1m0s: want an earlier time, or a later limit`},
		{"address of somebody", "kind = \"flooder\"\nto = \"a\"\nbehind = \"n\"\naddress = \"192.168.1.1\"\n",
			`11:11: the address 192.168.1.1 is taken: it is the gateway of n (line 3); want another`},
		{"a program there", "kind = \"flooder\"\nto = \"a\"\n[program.p]\nhost = \"e\"\nrun = \"udp-echo\"\n", `11:8: host = "e" is no host of this file: want a, b, c`},
		{"swallowed by nobody", "kind = \"flooder\"\nto = \"a\"\n[[expect]]\ndropped = \"swallowed by e\"\n", `11:11: no packet is ever dropped with the reason "swallowed by e": ...`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(small + "[adversary.e]\n" + tt.section))
			want, open := strings.CutSuffix(tt.want, "...")
			if err == nil || err.Error() != want && !(open && strings.HasPrefix(err.Error(), want)) {
				t.Errorf("Parse = %v\nwant    %s", err, tt.want)
			}
		})
	}
	_, err := Parse([]byte(small + "[adversary.c]\nkind = \"replayer\"\non = \"a\"\n"))
	if want := `7:12: the name "c" is taken: line 5 has it; want another`; err == nil || err.Error() != want {
		t.Errorf("Parse = %v\nwant    %s", err, want)
	}
}
