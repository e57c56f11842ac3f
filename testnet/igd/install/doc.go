// Package install puts routers of package igd on the networks of testnet: on
// the gateway of a router, so that what they promise their LAN is true.
//
// In the simulation they speak NAT-PMP and PCP; the laboratory has UPnP too,
// whose TCP and multicast need kernels.
//
//	d, err := install.Sim(world, router, "home-igd", profile)
//	...
//	fmt.Println(d.Router.Requests())
package install
