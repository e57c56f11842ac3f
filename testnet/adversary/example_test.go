package adversary_test

import (
	"fmt"
	"net/netip"
	"time"

	"shipworm/testnet/adversary"
	"shipworm/testnet/invariant"
	"shipworm/testnet/link"
	"shipworm/testnet/sim"
)

// A server that repeats what it hears, ten times, is flooded in the name of a
// victim: the victim gets the echoes, and an invariant says whose fault it is.
func Example() {
	w := sim.New(1, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	watch := invariant.Observe(w, invariant.Config{Factor: map[string]float64{"server": 1}})
	server, _ := w.Host("server", link.Config{}, netip.MustParseAddr("198.51.100.1"))
	bystander, _ := w.Host("bystander", link.Config{}, netip.MustParseAddr("192.0.2.1"))
	eve, _ := w.Host("eve", link.Config{}, netip.MustParseAddr("198.51.100.66"))

	var port *sim.UDPPort
	port, _ = server.BindUDP(7, func(_ time.Time, from netip.AddrPort, b []byte) {
		for range 10 {
			port.SendTo(from, b)
		}
	})
	var victim adversary.Victim
	victim.Attach(bystander)
	flood := adversary.Flooder{
		Rate: 100, Time: time.Second, To: netip.MustParseAddrPort("198.51.100.1:7"),
		From:    func(int) netip.AddrPort { return netip.MustParseAddrPort("192.0.2.1:53") },
		Payload: func(i int, _ netip.AddrPort) []byte { return fmt.Append(nil, i) },
	}
	flood.Attach(w, eve)
	w.Advance(w.Now().Add(time.Minute))

	fmt.Println(flood.Stats().Sent, "forged,", victim.Packets, "at the victim")
	fmt.Println(watch.Breaches(invariant.Factor) > 0)
	// Output:
	// 100 forged, 1000 at the victim
	// true
}
