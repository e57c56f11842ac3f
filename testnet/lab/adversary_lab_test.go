//go:build lab && linux

package lab_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"shipworm/testnet/adversary"
	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/link"
	"shipworm/testnet/sim"
)

// L-03: adversaries are nodes of a laboratory, too: while one floods a server
// with forged senders, and another forges ICMP errors about all that a home's
// connections say, curl gets its answer, and nobody breaks an invariant.
func TestAdversaries(t *testing.T) {
	l, home, server := newLab(t, "port-restricted", link.Config{Delay: time.Millisecond})
	if err := server.Reflect(); err != nil {
		t.Fatal(err)
	}
	flood := &adversary.Flooder{
		Rate: 500, To: netip.AddrPortFrom(server1, 7),
		From:    adversary.Sources(1, netip.MustParsePrefix("198.18.0.0/15")),
		Payload: func(int, netip.AddrPort) []byte { return []byte("who is there?") },
	}
	// Until there is a connection Linux believes all of it, and so does ping.
	liar := &adversary.ICMPLiar{Match: func(p *sim.Passage) bool {
		pkt, header, ok := ipv4.Check(p.Packet)
		return ok && p.Up && ipv4.Proto(pkt) == ipv4.TCP && len(pkt) > header+int(pkt[header+12]>>4)*4
	}}
	if err := l.Change(func(w *sim.World) error {
		eve, err := w.Host("eve", link.Config{}, netip.MustParseAddr("198.51.100.66"))
		if err == nil {
			flood.Attach(w, eve)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := home.Change(func(h *sim.Host) error { liar.Attach(h); return nil }); err != nil {
		t.Fatal(err)
	}
	if got := output(t, home, "curl", "-s", "-m", "15", "http://server/"); !strings.HasPrefix(got, outside.String()+":") {
		t.Errorf("curl heard %q", got)
	}

	var floods, lies adversary.Stats
	if err := l.Change(func(*sim.World) error {
		flood.Stop()
		floods, lies = flood.Stats(), liar.Stats()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if floods.Sent == 0 || lies.Sent == 0 {
		t.Errorf("the flooder %+v, the liar %+v", floods, lies)
	}
}
