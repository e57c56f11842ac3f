package install

import (
	"net/netip"

	"shipworm/testnet/link"
)

// perfect is the line of a machine that is beside the gateway.
var perfect link.Config

// last is the last address for a host in the /24 of a gateway.
func last(gateway netip.Addr) netip.Addr {
	a := gateway.As4()
	a[3] = 254
	return netip.AddrFrom4(a)
}
