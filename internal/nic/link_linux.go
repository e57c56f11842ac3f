package nic

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// addrGenNone is IN6_ADDR_GEN_MODE_NONE of linux/if_link.h: no link-local
// address of the kernel's own making.
const addrGenNone = 1

// Link is a network interface. Its methods need CAP_NET_ADMIN.
type Link struct{ l netlink.Link }

// Find returns the interface of that name.
func Find(name string) (*Link, error) {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &Link{l}, nil
}

func (k *Link) wrap(what any, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %v: %w", k.l.Attrs().Name, what, err)
	}
	return nil
}

// SetMTU sets the largest packet, in bytes.
func (k *Link) SetMTU(n int) error { return k.wrap("MTU", netlink.LinkSetMTU(k.l, n)) }

// SetQueue sets how many packets wait for the device to be read.
func (k *Link) SetQueue(n int) error { return k.wrap("queue", netlink.LinkSetTxQLen(k.l, n)) }

// SetSegments bounds the segments of a super-packet.
func (k *Link) SetSegments(n int) error {
	return k.wrap("segments", netlink.LinkSetGSOMaxSegs(k.l, n))
}

// Up lets packets through.
func (k *Link) Up() error { return k.wrap("up", netlink.LinkSetUp(k.l)) }

// NoLinkLocal keeps the kernel from making the interface a link-local IPv6
// address, and from soliciting routers with it. Call it before Up.
func (k *Link) NoLinkLocal() error {
	return k.wrap("link-local address", netlink.LinkSetIP6AddrGenMode(k.l, addrGenNone))
}

// AddAddr gives the interface an address, ready for use at once, and adds the
// route to the rest of the prefix.
func (k *Link) AddAddr(p netip.Prefix) error {
	a := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD // nobody else is on such a link
	}
	return k.wrap(p, netlink.AddrAdd(k.l, a))
}

// DelAddr takes an address away.
func (k *Link) DelAddr(p netip.Prefix) error {
	return k.wrap(p, netlink.AddrDel(k.l, &netlink.Addr{IPNet: ipNet(p)}))
}

// Route is a route through a Link.
type Route struct {
	To     netip.Prefix
	Via    netip.Addr // gateway; the zero Addr if To is on the link
	Src    netip.Addr // preferred source; the zero Addr for none
	Metric int        // lower is better; 0 is the kernel's default
}

// AddRoute adds a route. It goes when the interface does.
func (k *Link) AddRoute(r Route) error {
	n := &netlink.Route{LinkIndex: k.l.Attrs().Index, Dst: ipNet(r.To), Priority: r.Metric, Scope: netlink.SCOPE_LINK}
	if r.Via.IsValid() {
		n.Gw, n.Scope = net.IP(r.Via.AsSlice()), netlink.SCOPE_UNIVERSE
	}
	if r.Src.IsValid() {
		n.Src = net.IP(r.Src.AsSlice())
	}
	return k.wrap(r.To, netlink.RouteAdd(n))
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{
		IP:   net.IP(p.Addr().AsSlice()),
		Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
	}
}
