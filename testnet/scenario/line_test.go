package scenario

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"shipworm/testnet/link"
)

// Every knob of a line has a word, and what a file does not name stays as it
// was.
func TestLineKnobs(t *testing.T) {
	s, err := Parse([]byte(`
[host.a]
[host.a.link]
delay = "1ms"
jitter = "2ms"
loss = "3%"
burst = 4
reorder = 0.05
hold = "6ms"
duplicate = 0.07
corrupt = "8%"
rate = 9_000_000
queue = 10_000
codel = true
target = "11ms"
interval = "120ms"
mtu = 1300
[[event]]
at = "1s"
link = "a"
set = { codel = false, corrupt = 0 }
`))
	if err != nil {
		t.Fatal(err)
	}
	want := link.Config{
		Delay: time.Millisecond, Jitter: 2 * time.Millisecond, Loss: 0.03, Burst: 4, Reorder: 0.05,
		Hold: 6 * time.Millisecond, Duplicate: 0.07, Corrupt: 0.08, Rate: 9e6, Queue: 1e4,
		CoDel: true, Target: 11 * time.Millisecond, Interval: 120 * time.Millisecond, MTU: 1300,
	}
	got := s.Nodes[0].Line
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("line (-want +got):\n%s", diff)
	}
	s.Events[0].Set(&got)
	want.CoDel, want.Corrupt = false, 0
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("line after the event (-want +got):\n%s", diff)
	}
}

// What is corrupted does not arrive, and the file can say so.
func TestCorruptLine(t *testing.T) {
	r := simulate(t, pings+`
[[event]]
at = "3.05s"
until = "5.05s"
link = "pc"
set = { corrupt = 1 }
[[expect]]
program = "ping"
answers = 80
[[expect]]
dropped = "wrong UDP checksum"
at = "web"
`, Options{})
	check(t, r, VerdictHeld, VerdictHeld)
	if n := len(r.Programs[1].RTTs); n != 80 {
		t.Errorf("%d answers, want 80", n)
	}
}

// A line with a rate that is asked for more has CoDel keep the wait short.
func TestCoDelLine(t *testing.T) {
	const flood = `
limit = "60s"
[host.web]
[host.pc]
link = { rate = 50_000, queue = 20_000, %CODEL% }
[program.echo]
host = "web"
run = "udp-echo"
[program.ping]
host = "pc"
run = "udp-ping"
to = "web"
count = 1000
size = 100
interval = "10ms"
wait = "20s"
[[expect]]
program = "ping"
median_max = "1s"
[[expect]]
dropped = "dropped by CoDel"
`
	check(t, simulate(t, strings.Replace(flood, "%CODEL%", `codel = false`, 1), Options{}), VerdictFailed, VerdictFailed)
	check(t, simulate(t, strings.Replace(flood, "%CODEL%", `codel = true, target = "10ms", interval = "50ms"`, 1), Options{}), VerdictHeld, VerdictHeld)
}
