package igd

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"shipworm/testnet/firewall"
)

// A Pinholer is a Gateway that has an IPv6 firewall too. Firewall calls f with
// it, or with nil if there is none, while nobody else uses it.
type Pinholer interface {
	Firewall(f func(*firewall.Firewall))
}

// errNoFirewall reports a gateway without IPv6.
var errNoFirewall = errors.New("igd: no IPv6 firewall")

// A hole is a pinhole that PCP opened: its nonce protects it.
type hole struct {
	protocol byte
	internal netip.AddrPort
	nonce    [12]byte
	id       uint16
	expires  time.Time
}

// wall calls f with the gateway's firewall.
func (r *Router) wall(f func(*firewall.Firewall) error) error {
	err := errNoFirewall
	if p, ok := r.cfg.Gateway.(Pinholer); ok {
		p.Firewall(func(w *firewall.Firewall) {
			if w != nil {
				err = f(w)
			}
		})
	}
	return err
}

// holePCP is MAP of an IPv6 address: nothing is translated, the firewall opens
// (RFC 6887, 11.3: the external endpoint is the internal one).
func (r *Router) holePCP(now time.Time, q pcpRequest, target netip.Addr, out []byte) ([]byte, time.Duration, int) {
	internal := netip.AddrPortFrom(target, q.internal)
	r.holes = slices.DeleteFunc(r.holes, func(h hole) bool { return !now.Before(h.expires) })
	i := slices.IndexFunc(r.holes, func(h hole) bool { return h.protocol == q.protocol && h.internal == internal })
	if i >= 0 && r.holes[i].nonce != q.nonce {
		return out, r.holes[i].expires.Sub(now), pcpNotAuthorized
	}
	p := firewall.Pinhole{Proto: q.protocol, Internal: internal}
	for _, f := range q.filters {
		if p.Remote.IsValid() {
			return out, 0, pcpExcessiveRemotePeers
		}
		p.Remote, p.RemotePort = f.remote, f.port
	}
	life := r.lifetime(q.lifetime)
	var id uint16
	err := r.wall(func(w *firewall.Firewall) (err error) {
		if i >= 0 {
			_ = w.RemovePinhole(now, r.holes[i].id) // expired, then
		}
		if q.lifetime > 0 {
			id, err = w.AddPinhole(now, p, life)
		}
		return err
	})
	if i >= 0 {
		r.holes = slices.Delete(r.holes, i, i+1)
	}
	switch {
	case errors.Is(err, firewall.ErrTooManyPinholes):
		return out, 0, pcpNoResources
	case err != nil:
		return out, 0, pcpUnsupportedProtocol
	case q.lifetime == 0:
		return append(out[:pcpHeader+pcpMapBody], q.answer...), 0, 0
	}
	r.holes = append(r.holes, hole{q.protocol, internal, q.nonce, id, now.Add(life)})
	return assigned(out[:pcpHeader+pcpMapBody], q, internal), life, 0
}

// Errors of WANIPv6FirewallControl:1, 2.5.
const (
	holeNotFound    = 704
	holeNotAllowed  = 703
	holeWildcard    = 708
	holeMaxLease    = 86400 // seconds
	holeAnyProtocol = 65535
)

// firewallControl is WANIPv6FirewallControl. A control point speaks IPv4 here,
// so that nobody can tell whether the internal client is its own.
func (r *Router) firewallControl(now time.Time, c call) (out []arg, code int) {
	err := r.wall(func(w *firewall.Firewall) error {
		out, code = pinholeAction(now, w, c)
		return nil
	})
	switch {
	case err == nil:
		return out, code
	case c.action == "GetFirewallStatus":
		return []arg{{"FirewallEnabled", "0"}, {"InboundPinholeAllowed", "0"}}, 0
	}
	return nil, holeNotAllowed
}

func pinholeAction(now time.Time, w *firewall.Firewall, c call) ([]arg, int) {
	switch c.action {
	case "GetFirewallStatus":
		return []arg{{"FirewallEnabled", "1"}, {"InboundPinholeAllowed", "1"}}, 0
	case "GetOutboundPinholeTimeout":
		return []arg{{"OutboundPinholeTimeout", fmt.Sprint(int64(firewall.DefaultUDP / time.Second))}}, 0
	case "AddPinhole":
		return addPinhole(now, w, c)
	}
	id, ok := c.number("UniqueID", 16)
	if !ok {
		return nil, upnpInvalidArgs
	}
	holes := w.Pinholes(now)
	i := slices.IndexFunc(holes, func(o firewall.Open) bool { return o.ID == uint16(id) })
	if i < 0 {
		return nil, holeNotFound
	}
	switch c.action {
	case "UpdatePinhole":
		lease, ok := c.number("NewLeaseTime", 32)
		if !ok || lease == 0 || lease > holeMaxLease {
			return nil, upnpInvalidArgs
		}
		_ = w.RenewPinhole(now, uint16(id), time.Duration(lease)*time.Second) // it is there
	case "DeletePinhole":
		_ = w.RemovePinhole(now, uint16(id))
	case "GetPinholePackets":
		return []arg{{"PinholePackets", fmt.Sprint(holes[i].Packets)}}, 0
	case "CheckPinholeWorking":
		return []arg{{"IsWorking", fmt.Sprint(min(holes[i].Packets, 1))}}, 0
	default:
		return nil, upnpInvalidAction
	}
	return nil, 0
}

// addPinhole is AddPinhole: the empty remote host and port 0 are everybody's.
func addPinhole(now time.Time, w *firewall.Firewall, c call) ([]arg, int) {
	remotePort, ok1 := c.number("RemotePort", 16)
	port, ok2 := c.number("InternalPort", 16)
	protocol, ok3 := c.number("Protocol", 16)
	lease, ok4 := c.number("LeaseTime", 32)
	host, err := netip.ParseAddr(c.args["InternalClient"])
	p := firewall.Pinhole{Internal: netip.AddrPortFrom(host, uint16(port)), RemotePort: uint16(remotePort), Proto: byte(protocol)}
	switch {
	case c.args["InternalClient"] == "":
		return nil, holeWildcard
	case !ok1, !ok2, !ok3, !ok4, err != nil, lease == 0, lease > holeMaxLease, protocol > 255 && protocol != holeAnyProtocol:
		return nil, upnpInvalidArgs
	case protocol == holeAnyProtocol:
		p.Proto = 0
	}
	if s := c.args["RemoteHost"]; s != "" {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, upnpInvalidArgs
		}
		p.Remote = netip.PrefixFrom(a, a.BitLen())
	}
	id, err := w.AddPinhole(now, p, time.Duration(lease)*time.Second)
	switch {
	case errors.Is(err, firewall.ErrTooManyPinholes):
		return nil, upnpActionFailed
	case err != nil:
		return nil, upnpInvalidArgs
	}
	return []arg{{"UniqueID", fmt.Sprint(id)}}, 0
}
