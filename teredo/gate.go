package teredo

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"shipworm/teredo/wire"
)

// Reasons why a Client ends by itself.
var (
	// ErrNative: native IPv6 works on this host. Teredo is for hosts without it
	// (RFC 4380, 5.5); a Relay is what others may run.
	ErrNative = errors.New("native IPv6 works here")

	// ErrIdle: no packet of the host's passed for ClientConfig.Idle.
	ErrIdle = errors.New("not used any more")
)

// gateEvery is how often a Client looks whether it is still wanted.
const gateEvery = 5 * time.Second

// gate says whether a Client may run, and go on.
type gate struct {
	native func() bool // nil: nobody asks
	forced bool
	idle   time.Duration
	used   time.Time // last packet from or for the host
}

func newGate(cfg *ClientConfig, now time.Time) gate {
	g := gate{native: cfg.Native, forced: cfg.Force, idle: cfg.Idle, used: now}
	if g.native == nil && cfg.Listen == nil {
		g.native = hasNative
	}
	return g
}

// check returns why the Client must end, or nil.
func (g *gate) check(now time.Time) error {
	switch {
	case !g.forced && g.native != nil && g.native():
		return ErrNative
	case g.idle > 0 && now.Sub(g.used) > g.idle-gateEvery: // it will be later next time
		return ErrIdle
	}
	return nil
}

// hasNative reports whether this host has a native IPv6 address and a route
// from it into the Internet. It sends nothing.
func hasNative() bool {
	anywhere := netip.AddrFrom16([16]byte{0x26, 15: 1})
	return nativeAddr(anywhere).IsValid()
}

// nativeAddr returns the native IPv6 address that the kernel would send from to
// dst, or the zero Addr. It sends nothing.
func nativeAddr(dst netip.Addr) netip.Addr {
	c, err := net.DialUDP("udp6", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(dst, Port)))
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	ip := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
	sixToFour := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x02}), 16)
	if wire.Prefix().Contains(ip) || sixToFour.Contains(ip) || !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.Is4In6() {
		return netip.Addr{}
	}
	return ip
}
