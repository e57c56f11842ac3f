//go:build lab && linux

package teredo

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"shipworm/testnet/lab"
)

// What Miredo was measured to fail at when something is away for a while, with
// the programs and routers of Linux's own. The times promised are in the
// machines' tests; here a machine may stall.

// ring pings all the time.
func (s *street) ring(from *lab.Host, to, every string) *process {
	s.t.Helper()
	return s.start(from, "ping", "-6", "-n", "-i", every, to)
}

var answer = regexp.MustCompile(`icmp_seq=(\d+) .*time=([0-9.]+) ms`)

// heard returns the numbers of the pings that were answered by now.
func (p *process) heard() (seqs []int) {
	for {
		select {
		case l := <-p.lines:
			if m := answer.FindStringSubmatch(l); m != nil {
				n, _ := strconv.Atoi(m[1])
				seqs = append(seqs, n)
			}
		default:
			return seqs
		}
	}
}

// hears waits for another answer, and tells how long that took.
func (p *process) hears() time.Duration {
	p.t.Helper()
	p.heard()
	began := time.Now()
	for time.Since(began) < patience {
		if len(p.heard()) > 0 {
			return time.Since(began)
		}
		time.Sleep(20 * time.Millisecond)
	}
	p.t.Errorf("no answer after %v", patience)
	return patience
}

// pair is two clients behind port-restricted NATs of the kernel's own.
func (c *country) pair() (a, b *settler) {
	c.t.Helper()
	for _, n := range []**settler{&a, &b} {
		*n = c.settle(masquerade + silent)
		_, q := c.client((*n).Host, "--server", primary.String()+","+secondary.String(), "--tun", "teredo")
		(*n).addr = q.Address.String()
	}
	return a, b
}

// cut has the router pass nothing to or from the Internet.
func (g *gateway) cut() (mend func()) {
	g.country.t.Helper()
	g.country.must(g.Host, "nft -f - <<END\ntable ip cut {\n\tchain in {\n\t\ttype filter hook prerouting priority -400;\n\t\tiifname eth0 drop\n\t}\n"+
		"\tchain out {\n\t\ttype filter hook postrouting priority 400;\n\t\toifname eth0 drop\n\t}\n}\nEND")
	return func() { g.country.must(g.Host, "nft delete table ip cut") }
}

// The server is away for 12 s. Two clients that have their addresses keep them,
// and what they say to each other; one that starts meanwhile, again and again as
// its unit has it, has an address soon after the server is back, where Miredo
// waits for 100 s.
func TestLabServerAway(t *testing.T) {
	t.Parallel()
	c := newCountry(t)
	serve := []string{"--listen", primary.String(), "--listen", secondary.String()}
	server := c.ourServer(serve...)
	a, b := c.pair()
	if _, ok := c.call(&a.resident, b.addr, 20); !ok {
		t.Fatal("not connected")
	}
	ring := c.ring(a.Host, b.addr, "0.2")
	_ = server.stop(syscall.SIGKILL)
	home := c.settle(masquerade + silent).Host
	late := c.shipworm(home, "teredo", "client", "--server", primary.String())
	time.Sleep(12 * time.Second)
	if n := len(ring.heard()); n < 15 {
		t.Errorf("%d of 60 pings answered without a server", n)
	}
	c.ourServer(serve...)
	began := time.Now()
	for tries := 1; ; tries++ {
		if l, ok := <-late.lines; ok {
			t.Logf("%v after the server was back: %s", time.Since(began), l)
			break
		}
		if tries == 5 {
			t.Fatalf("no address %v after the server was back", time.Since(began))
		}
		time.Sleep(15 * time.Second) // as its unit says
		late = c.shipworm(home, "teredo", "client", "--server", primary.String())
	}
	ring.hears()
	for _, n := range []*settler{a, b} {
		if st := c.state(n.Host); st.Address.String() != n.addr {
			t.Errorf("%s was %s and is %v", n.Name(), n.addr, st.Address)
		}
	}
}

// A peer is away for 15 s while packets go to it. Miredo is silent for 295 s more.
func TestLabPeerAway(t *testing.T) {
	t.Parallel()
	c := newCountry(t)
	c.ourServer("--listen", primary.String(), "--listen", secondary.String())
	a, b := c.pair()
	ring := c.ring(a.Host, b.addr, "1")
	ring.hears()
	mend := b.gateway.cut()
	time.Sleep(15 * time.Second)
	mend()
	t.Logf("an answer %v after the peer was back", ring.hears())
}

// A relay is away for 15 s while a client pings a native host through it. Miredo
// never finds it again.
func TestLabRelayAway(t *testing.T) {
	t.Parallel()
	c := newCoast(t, nil)
	c.ourServer("--listen", primary.String(), "--listen", secondary.String(), "--native")
	relay := c.ourRelay(c.relay, "--prefix", nodePrefix)
	home := c.home("port-restricted")
	c.ourClient(home)
	ring := c.ring(home, nodeAddr, "1")
	ring.hears()
	_ = relay.stop(syscall.SIGKILL)
	time.Sleep(15 * time.Second)
	c.ourRelay(c.relay, "--prefix", nodePrefix)
	t.Logf("an answer %v after the relay was back", ring.hears())
}

// Packets that wait for the way to a peer come in the order in which they were
// sent. Miredo's come last first.
func TestLabWaitingInOrder(t *testing.T) {
	t.Parallel()
	c := newCountry(t)
	c.ourServer("--listen", primary.String(), "--listen", secondary.String())
	a, b := c.pair()
	mend := a.gateway.cut()
	into := func() (packets int) {
		packets, _ = strconv.Atoi(c.must(a.Host, "ip -s link show teredo | awk '/TX:/ { getline; print $2 }'"))
		return packets
	}
	before := into()
	ping := c.start(a.Host, "ping", "-6", "-n", "-c", "20", "-i", "0.1", "-w", "40", b.addr)
	for end := time.Now().Add(patience); into() < before+8 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
	}
	mend()
	var order []int
	waited := 0
	for l := range ping.lines {
		if m := answer.FindStringSubmatch(l); m != nil {
			n, _ := strconv.Atoi(m[1])
			took, _ := strconv.ParseFloat(m[2], 64)
			order = append(order, n)
			if took > 90 { // the next one was sent before
				waited++
			}
		}
	}
	t.Logf("answers, of which %d had waited: %v", waited, order)
	if !slices.IsSorted(order) || waited < 2 {
		t.Errorf("out of order, or only %d had waited", waited)
	}
}

// state asks the client on a host.
func (s *street) state(h *lab.Host) (st State) {
	s.t.Helper()
	out, errOut, _ := s.run(h, "teredo", "show", "--json")
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		s.t.Fatalf("%v\n%s%s", err, out, errOut)
	}
	return st
}
