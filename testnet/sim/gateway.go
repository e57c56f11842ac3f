package sim

import (
	"fmt"
	"net/netip"
	"time"

	"shipworm/testnet/internal/ip"
	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/link"
)

// GatewayHost puts a host at the router's addresses on its LAN (SetGateway,
// Delegate), for services that the router has for the LAN. It is reached through no line of
// any length, and until its Receive is changed it answers pings, as the router
// did.
func (r *Router) GatewayHost(name string) (*Host, error) {
	gateway := r.gateway
	if gateway == 0 {
		return nil, fmt.Errorf("sim: router %s has no gateway address: %w", r.name, ErrBadAddress)
	}
	addrs := []netip.Addr{ipv4.Addr(gateway)}
	if r.prefix.IsValid() {
		addrs = append(addrs, r.gateway6())
	}
	r.gateway, r.hosted = 0, true // or the addresses would be in use
	defer func() { r.gateway = gateway }()
	h, err := r.world.newHost(name, link.Config{}, r.lan, addrs)
	if err != nil {
		return nil, err
	}
	h.Receive = func(_ time.Time, pkt []byte) {
		if ip.Is6(pkt) {
			if pong := appendPong6(nil, pkt); len(pong) > 0 {
				h.Send(pong)
			}
			return
		}
		_, n, ok := ipv4.Check(pkt)
		if !ok || ipv4.Proto(pkt) != ipv4.ICMP || len(pkt) < n+8 || pkt[n] != ipv4.EchoRequest || !ipv4.TransportOK(pkt, n) {
			return
		}
		b := pkt[n:]
		h.Send(ipv4.AppendEcho(nil, ipv4.EchoReply, ipv4.Addr(ipv4.Dst(pkt)), ipv4.Addr(ipv4.Src(pkt)),
			be.Uint16(b[4:]), be.Uint16(b[6:]), b[8:]))
	}
	return h, nil
}
