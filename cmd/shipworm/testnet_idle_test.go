package main

import (
	"testing"
	"time"

	"shipworm/testnet/scenario"
)

// aDay is a client that does nothing for a day but keep its mapping.
const aDay = `
limit = "24h"
[host.server]
address = ["203.0.113.1", "203.0.113.2"]
link = { delay = "20ms" }
[nat.home]
profile = "port-restricted"
link = { delay = "5ms" }
[host.alice]
behind = "home"
[program.server]
host = "server"
run = "teredo-server"
[program.alice]
host = "alice"
run = "teredo-client"
server = "server"
`

// idle runs the day and returns how many events of packets it had. A refresh is
// a solicitation and an advertisement, each of which is sent, translated and
// delivered.
func idle(tb testing.TB) int {
	tb.Helper()
	s, err := scenario.Parse([]byte(aDay))
	if err != nil {
		tb.Fatal(err)
	}
	r, err := scenario.Simulate(tb.Context(), s, scenario.Options{Programs: ownPrograms()})
	if err != nil {
		tb.Fatal(err)
	}
	if alice := r.Programs[1]; alice.Status != scenario.Running || alice.Address == "" || r.Took != 24*time.Hour {
		tb.Fatalf("after %v: %+v", r.Took, alice)
	}
	// RFC 4380, 5.2.5: every 30 s at most, and no less often than 75 % of that.
	const day, most = int(24 * time.Hour / time.Second), 6 * 4 / 3
	if r.Packets < day/30*6 || r.Packets > day/30*most+100 {
		tb.Fatalf("%d events in a day, want a refresh every 22.5 to 30 s", r.Packets)
	}
	return r.Packets
}

// A day of keep-alive in virtual time keeps the address.
func TestTeredoIdleDay(t *testing.T) {
	began := time.Now()
	events := idle(t)
	t.Logf("24 h in %v, %d events", time.Since(began), events)
}

// BenchmarkTeredoIdleDay is 24 hours of one client behind a port-restricted NAT,
// with trace hash and invariants; 100 ms are allowed.
func BenchmarkTeredoIdleDay(b *testing.B) {
	for b.Loop() {
		idle(b)
	}
}
