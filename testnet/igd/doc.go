// Package igd is a router that opens ports for programs on its LAN: by NAT-PMP
// (RFC 6886), by PCP (RFC 6887) and by UPnP (Internet Gateway Device 1 and 2).
// Each of its profiles is a router that somebody has at home, or one that does
// a single thing wrong, for clients to be tried with.
//
// A [Router] is a machine: bytes go in with the time, bytes come out, and the
// mappings are written to a [Gateway], usually a NAT of testnet/nat. It keeps a
// log of what it was asked. [Server] runs one on real sockets; package install
// puts one on the gateway of a simulated network or of a laboratory.
//
// Left out: UPnP eventing, PCP authentication, mappings of all ports or
// protocols, and DMZ hosts. IPv6 pinholes, by PCP and
// WANIPv6FirewallControl, need a Gateway that is a [Pinholer]. A PCP mapping has one FILTER, the least that
// RFC 6887 allows; a PEER mapping is a forward for one remote address.
//
//	profile, _ := igd.Lookup("miniupnpd")
//	r, err := igd.New(igd.Config{Profile: profile, Gateway: igd.NAT(n), Address: lanAddress})
//	...
//	go igd.NewServer(r, igd.Sockets{Control: udp5351, Search: udp1900, Listen: listenTCP}).Run(ctx)
//	...
//	for _, q := range r.Requests() {
//		fmt.Println(q)
//	}
package igd
