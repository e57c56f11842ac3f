package sim_test

import (
	"fmt"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

// RFC 5382, REQ-4: what a NAT says on its own, and late, goes out; two SYNs
// get an answer each.
func TestLateAnswer(t *testing.T) {
	n := newLab(t, 1)
	c := config(t, "port-restricted", "203.0.113.1")
	c.UnsolicitedTCP = nat.UnsolicitedDelayed
	home, err := n.Router("home", c, link.Config{})
	if err != nil {
		t.Fatal(err)
	}
	server := n.host("server", "198.51.100.1")
	got := icmp(server)
	syn := func(port string) {
		server.Send(ipv4.AppendTCP(nil, 1, addrPort("198.51.100.1:80"), addrPort("203.0.113.1:"+port), ipv4.SYN, nil))
	}
	syn("5000")
	n.run(time.Second)
	syn("5001")
	n.run(4 * time.Second)
	if len(*got) != 0 {
		t.Fatalf("answered at once: %v", *got)
	}
	n.run(10 * time.Second)
	const want = "ICMP port unreachable, 203.0.113.1 > 198.51.100.1, 68 B"
	if fmt.Sprint(*got) != fmt.Sprintf("[%s %s]", want, want) {
		t.Errorf("got %v", *got)
	}
	syn("5002")
	n.run(time.Second)
	home.NAT().Reset() // and it has forgotten
	n.run(time.Minute)
	if len(*got) != 2 {
		t.Errorf("after a reboot: %v", *got)
	}
}
