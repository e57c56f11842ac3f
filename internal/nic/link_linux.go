package nic

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

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

// wrap6 tells the lack of IPv6 from a lack of privilege, which is EPERM.
func (k *Link) wrap6(what any, a netip.Addr, err error) error {
	if a.Is6() && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EAFNOSUPPORT)) {
		err = ErrNoIPv6
	}
	return k.wrap(what, err)
}

// SetMTU sets the largest packet, in bytes.
func (k *Link) SetMTU(n int) error { return k.wrap("MTU", netlink.LinkSetMTU(k.l, n)) }

// SetQueue sets how many packets wait for the device to be read.
func (k *Link) SetQueue(n int) error { return k.wrap("queue", netlink.LinkSetTxQLen(k.l, n)) }

// SetSegments bounds the segments of a super-packet.
func (k *Link) SetSegments(n int) error {
	return k.wrap("segments", netlink.LinkSetGSOMaxSegs(k.l, n))
}

// IsUp reports whether packets went through when the Link was found.
func (k *Link) IsUp() bool { return k.l.Attrs().Flags&net.FlagUp != 0 }

// Up lets packets through.
func (k *Link) Up() error { return k.wrap("up", netlink.LinkSetUp(k.l)) }

// NoLinkLocal keeps the kernel from making the interface a link-local IPv6
// address, and from soliciting routers with it. Call it before Up.
func (k *Link) NoLinkLocal() error {
	return k.wrap6("link-local address", netip.IPv6Unspecified(), netlink.LinkSetIP6AddrGenMode(k.l, addrGenNone))
}

// AddAddr gives the interface an address, to which programs can bind at once,
// and adds the route to the rest of the prefix. [Link.Settle] waits until packets
// are taken in.
func (k *Link) AddAddr(p netip.Prefix) error {
	a := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD // nobody else is on such a link
	}
	return k.wrap6(p, p.Addr(), netlink.AddrAdd(k.l, a))
}

// settleTime is more than a kernel takes that has anything else to do.
const settleTime = 10 * time.Second

// Settle waits until the kernel takes in packets to an IPv6 address of an
// interface that is up: a worker of its own adds the route, a moment after the
// address was given. Until then they would be lost.
func (k *Link) Settle(a netip.Addr) error {
	on := &netlink.RouteGetOptions{OifIndex: k.l.Attrs().Index}
	for end := time.Now().Add(settleTime); ; time.Sleep(time.Millisecond) {
		routes, err := netlink.RouteGetWithOptions(a.AsSlice(), on)
		if err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL {
			return nil
		}
		if time.Now().After(end) {
			return k.wrap(a, fmt.Errorf("not in use after %v", settleTime))
		}
	}
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
	return k.wrap6(r.To, r.To.Addr(), netlink.RouteAdd(n))
}

// Leads reports whether a route leads to a by way of the Link. It needs no
// privilege.
func (k *Link) Leads(a netip.Addr) (bool, error) {
	index := k.l.Attrs().Index
	routes, err := netlink.RouteGetWithOptions(a.AsSlice(), &netlink.RouteGetOptions{OifIndex: index})
	if errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) {
		return false, nil
	}
	return len(routes) > 0 && routes[0].LinkIndex == index, k.wrap(a, err)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{
		IP:   net.IP(p.Addr().AsSlice()),
		Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
	}
}
