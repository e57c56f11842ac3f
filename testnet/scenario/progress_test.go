package scenario

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// brief is a program that fails after a second.
type brief struct{}

func (brief) Command(*Task) ([]string, error) { return nil, nil }
func (brief) Line(*Task, string)              {}
func (brief) Simulate(t *Task) error {
	t.World.At(t.World.Now().Add(time.Second), func() { t.Exit(1, "no luck") })
	return nil
}

// A program that waits for one that has ended otherwise is not waited for: the
// run need not last to its limit.
func TestHopeless(t *testing.T) {
	r := simulate(t, `
[host.server]
[host.pc]
[program.relay]
host = "server"
run = "teredo-server"
[program.address]
host = "pc"
run = "teredo-client"
server = "server"
[program.ping]
host = "pc"
run = "udp-ping"
to = "server"
after = "address"
start = "5s"
[program.last]
host = "pc"
run = "udp-ping"
to = "server"
after = "ping"
[[expect]]
program = "last"
exit = 0
[[expect]]
reachable = "server"
from = "pc"
within = "3s"
`, Options{Programs: map[Kind]Runner{TeredoServer: brief{}, TeredoClient: brief{}}})
	check(t, r, VerdictFailed, VerdictFailed)
	if r.Took != time.Second {
		t.Errorf("it took %v", r.Took)
	}
	const want = "it waits for address, which is exit code 1 after 1s, no luck"
	if got := r.Programs[2].Note; got != want {
		t.Errorf("the ping: %s; want %s", got, want)
	}
}

// Nor is who waits for the address of a Teredo client that has none any more,
// beside whom others are skipped.
func TestHopelessPing(t *testing.T) {
	const (
		hosts = `
limit = "1h"
[host.server]
[host.pc]
[host.other]
[program.relay]
host = "server"
run = "teredo-server"
[program.real]
host = "pc"
exec = ["x"]
`
		client = `
[program.address]
host = "pc"
run = "teredo-client"
server = "server"
`
		ping = `
[program.ping]
host = "other"
run = "teredo-ping"
server = "server"
to = "pc"
[[expect]]
program = "ping"
exit = 0
`
		reach = `
[program.first]
host = "pc"
run = "udp-ping"
to = "server"
after = "address"
[program.second]
host = "pc"
run = "udp-ping"
to = "server"
after = "real"
[[expect]]
reachable = "server"
from = "pc"
within = "3s"
`
	)
	programs := Options{Programs: map[Kind]Runner{TeredoServer: brief{}, TeredoClient: brief{}, TeredoPing: brief{}}}
	for _, tt := range []struct {
		name, file string
		want       Verdict
		took       time.Duration
	}{
		{"the client has ended", hosts + client + ping, VerdictFailed, time.Second},
		{"the client is skipped", hosts + client + `after = "real"` + ping, VerdictSkipped, time.Hour}, // with nothing to wait for, to the limit
		{"another is skipped", hosts + client + reach, VerdictFailed, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := simulate(t, tt.file, programs)
			check(t, r, tt.want)
			if r.Took != tt.took {
				t.Errorf("it took %v", r.Took)
			}
		})
	}
}

// What happens is told in order, verdicts as soon as they are known.
func TestProgress(t *testing.T) {
	var got []string
	simulate(t, `
[host.web]
[nat.home]
profile = "cone"
[host.pc]
behind = "home"
[adversary.crowd]
kind = "flooder"
to = "web"
at = "1s"
until = "2s"
[program.echo]
host = "web"
run = "udp-echo"
[program.ping]
host = "pc"
run = "udp-ping"
to = "web"
count = 3
[[event]]
at = "500ms"
until = "700ms"
unplug = "home"
[[expect]]
program = "ping"
lost = 1
[[expect]]
reachable = "web"
from = "pc"
since = "800ms"
within = "1s"
`, Options{Progress: func(at time.Duration, what string) { got = append(got, fmt.Sprint(at, " ", what)) }})
	want := []string{
		"0s echo starts on web",
		"0s ping starts on pc",
		"500ms line 20: unplug home",
		"700ms line 20: end of unplug home",
		"1s flooder crowd begins",
		"1s line 27 held: pc reaches web within 1s from 800ms on: after 200ms",
		"2s flooder crowd ends",
		"2s ping ends: exit code 0 after 2s",
		"2s line 24 held: ping: at most 1 lost: 3 of 3 answered",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
