package scenario

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// simulate runs a file that must be correct, without Teredo programs.
func simulate(t *testing.T, file string, opts Options) *Result {
	t.Helper()
	s, err := Parse([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Simulate(t.Context(), s, opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// check compares the verdicts, in the order of the file.
func check(t *testing.T, r *Result, want ...Verdict) {
	t.Helper()
	if len(r.Expectations) != len(want) {
		t.Fatalf("%d expectations, want %d", len(r.Expectations), len(want))
	}
	for i, x := range r.Expectations {
		if x.Verdict != want[i] {
			t.Errorf("line %d: %s: %s (%s), want %s", x.Line, x.Text, x.Verdict, x.Seen, want[i])
		}
	}
}

// pings is a host that pings another through a NAT of a profile, both 10 ms
// away, ten times a second for ten seconds.
const pings = `
limit = "30s"
[host.web]
link = { delay = "5ms" }
[nat.home]
profile = "port-restricted"
link = { delay = "5ms" }
[host.pc]
behind = "home"
[program.echo]
host = "web"
run = "udp-echo"
[program.ping]
host = "pc"
run = "udp-ping"
to = "web"
count = 100
interval = "100ms"
wait = "500ms"
`

// The same seed gives the same packets at the same nanosecond, another one
// other packets. (L-02)
func TestDeterminism(t *testing.T) {
	file := strings.Replace(pings, `link = { delay = "5ms" }`, `link = { delay = "5ms", jitter = "3ms", loss = 0.2, reorder = 0.1, duplicate = 0.1 }`, 2)
	first := simulate(t, file, Options{Seed: 7})
	if first.Packets < 300 {
		t.Fatalf("%d events: too few to tell", first.Packets)
	}
	for range 3 {
		if again := simulate(t, file, Options{Seed: 7}); again.Trace != first.Trace || again.Packets != first.Packets || again.Took != first.Took {
			t.Errorf("seed 7: trace %s of %d events, first %s of %d", again.Trace, again.Packets, first.Trace, first.Packets)
		}
	}
	if other := simulate(t, file, Options{Seed: 8}); other.Trace == first.Trace {
		t.Error("seeds 7 and 8 give the same trace")
	}
	named := simulate(t, "seed = 7\n"+file, Options{})
	if named.Trace != first.Trace || named.Seed != 7 {
		t.Errorf("seed 7 of the file: trace %s, want %s", named.Trace, first.Trace)
	}
}

// Events happen at their time and are undone at theirs. (L-04)
func TestEvents(t *testing.T) {
	tests := []struct {
		name, events string
		low, high    int // answers
	}{
		{"none", "", 100, 100},
		{"unplugged for 2 s", "[[event]]\nat = \"3.05s\"\nuntil = \"5.05s\"\nunplug = \"home\"\n", 80, 80},
		{"unplugged, the host", "[[event]]\nat = \"3.05s\"\nuntil = \"5.05s\"\nunplug = \"pc\"\n", 80, 80},
		{"unplugged and replugged", "[[event]]\nat = \"3.05s\"\nunplug = \"web\"\n[[event]]\nat = \"5.05s\"\nreplug = \"web\"\n", 80, 80},
		{"unplugged for good", "[[event]]\nat = \"3.05s\"\nunplug = \"web\"\n", 31, 31},
		{"cuts that overlap", "[[event]]\nat = \"3.05s\"\nuntil = \"5.05s\"\nunplug = \"home\"\n[[event]]\nat = \"4.05s\"\nuntil = \"6.05s\"\nreboot = \"home\"\n", 70, 70},
		{"loss from 3 s to 8 s", "[[event]]\nat = \"3.05s\"\nuntil = \"8.05s\"\nlink = \"home\"\nset = { loss = 0.5 }\n", 51, 80},
		{"loss inside of loss", "[[event]]\nat = \"3.05s\"\nuntil = \"8.05s\"\nlink = \"home\"\nset = { delay = \"6ms\" }\n[[event]]\nat = \"4.05s\"\nuntil = \"5.05s\"\nlink = \"home\"\nset = { loss = 1 }\n", 90, 90},
		{"slower than the ping waits", "[[event]]\nat = \"3.05s\"\nlink = \"home\"\nset = { delay = \"300ms\" }\n", 31, 31},
		{"a reboot alone hurts nobody who sends", "[[event]]\nat = \"3.05s\"\nreboot = \"home\"\n", 100, 100},
		{"a reboot while an answer is on its way", "[[event]]\nat = \"3.01s\"\nreboot = \"home\"\n", 99, 99},
		{"another address", "[[event]]\nat = \"3.01s\"\nreaddress = \"home\"\n", 99, 99},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := simulate(t, pings+tt.events, Options{})
			if n := len(r.Programs[1].RTTs); n < tt.low || n > tt.high {
				t.Errorf("%d answers, want %d to %d", n, tt.low, tt.high)
			}
		})
	}
}

// Each sort of expectation holds where it should and fails where it should,
// and says what was seen.
func TestExpectations(t *testing.T) {
	r := simulate(t, pings+`
[[event]]
at = "3.05s"
until = "5.05s"
unplug = "home"
[[expect]]
program = "ping"
exit = 0
answers = 80
lost = 20
latency_min = "20ms"
latency_max = "20ms"
[[expect]]
program = "ping"
exit = 3
[[expect]]
program = "ping"
answers = 81
[[expect]]
program = "ping"
lost = 19
[[expect]]
program = "ping"
latency_max = "19ms"
[[expect]]
program = "ping"
median_min = "21ms"
[[expect]]
reachable = "web"
from = "pc"
within = "20ms"
[[expect]]
reachable = "web"
from = "pc"
within = "19ms"
[[expect]]
reachable = "web"
from = "pc"
since = "4s"
within = "1s"
[[expect]]
reachable = "web"
from = "pc"
since = "4s"
within = "1.2s"
[[expect]]
dropped = "lost on the line"
at = "home"
min = 20
max = 20
[[expect]]
dropped = "lost on the line"
at = "pc"
[[expect]]
dropped = "filtered"
max = 0
`, Options{})
	held, failed := VerdictHeld, VerdictFailed
	check(t, r, held, failed, failed, failed, failed, failed, held, failed, failed, held, held, failed, held)
	for i, want := range map[int]string{
		0: "exit code 0 after 9.92s; 80 of 100 answered; answers took 20ms to 20ms, median 20ms",
		8: "ping had 80 of 100 answered, none of them in time",
		9: "after 1.12s", 11: "0 packets",
	} {
		if got := r.Expectations[i].Seen; got != want {
			t.Errorf("seen %q, want %q", got, want)
		}
	}
}

// What only the laboratory can run is skipped, and so is all that depends on
// it, visibly.
func TestSkipped(t *testing.T) {
	r := simulate(t, pings+`
[program.curl]
host = "pc"
exec = ["curl", "http://web/"]
[program.later]
host = "pc"
run = "udp-ping"
to = "web"
after = "curl"
[[expect]]
program = "curl"
exit = 0
[[expect]]
program = "later"
exit = 0
[[expect]]
program = "ping"
exit = 0
[[expect]]
dropped = "filtered"
[[expect]]
dropped = "filtered"
max = 0
[[expect]]
reachable = "web"
from = "pc"
within = "1s"
`, Options{})
	held, skipped := VerdictHeld, VerdictSkipped
	check(t, r, skipped, skipped, held, skipped, skipped, held)
	if got := r.Expectations[0].Seen; !strings.Contains(got, "cannot run in virtual time") {
		t.Errorf("seen %q, want the reason", got)
	}
	var text bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"skipped  curl on pc: ", "2 held, 0 failed, 4 skipped"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &text)
		}
	}
}

// A program starts after another one has ended, and at its time.
func TestSequence(t *testing.T) {
	r := simulate(t, pings+`
[program.second]
host = "pc"
run = "udp-ping"
to = "web"
count = 1
start = "2s"
after = "ping"
[program.third]
host = "pc"
run = "udp-ping"
to = "web"
count = 1
start = "12s"
after = "echo"
`, Options{})
	want := []time.Duration{0, 0, 9920 * time.Millisecond, 12 * time.Second}
	for i, p := range r.Programs {
		if p.Started != want[i] {
			t.Errorf("%s started at %v, want %v", p.Name, p.Started, want[i])
		}
	}
}

// A run that does not come to its end is ended at its limit, and a program that
// still runs then did not end.
func TestLimit(t *testing.T) {
	r := simulate(t, strings.Replace(pings, `"30s"`, `"5s"`, 1)+"[[expect]]\nprogram = \"ping\"\nexit = 0\n[[expect]]\nprogram = \"ping\"\nanswers = 50\n", Options{})
	if r.Took != 5*time.Second {
		t.Errorf("took %v, want 5s", r.Took)
	}
	check(t, r, VerdictFailed, VerdictHeld)
	if got := r.Expectations[0].Seen; got != "running" {
		t.Errorf("seen %q", got)
	}
}

// What cannot be carried out is an error that names the line.
func TestRunErrors(t *testing.T) {
	for _, tt := range []struct{ name, file, want string }{
		{"no implementation", "[host.a]\n[program.s]\nhost = \"a\"\nrun = \"teredo-server\"\n", "program s: nobody implements teredo-server"},
		{"address in use at that time", "[host.a]\n[nat.n]\nprofile = \"cone\"\n[nat.m]\nprofile = \"cone\"\n[[event]]\nat = \"1s\"\nreaddress = \"n\"\nto = \"198.51.100.9\"\n[[event]]\nat = \"2s\"\nreaddress = \"m\"\nto = \"198.51.100.9\"\n",
			"line 10: readdress m at 2s: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Parse([]byte(tt.file))
			if err != nil {
				t.Fatal(err)
			}
			if r, err := Simulate(t.Context(), s, Options{}); r != nil || err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("Simulate = %v, %v, want %s", r, err, tt.want)
			}
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		s, err := Parse([]byte(pings))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Simulate(ctx, s, Options{}); !errors.Is(err, context.Canceled) {
			t.Errorf("Simulate = %v, want canceled", err)
		}
	})
}
