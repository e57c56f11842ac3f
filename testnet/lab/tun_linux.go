package lab

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"shipworm/internal/nic"
)

// Every host's one interface. The name is the one that programs expect on a
// machine; MTU is Ethernet's.
const (
	ifaceName = "eth0"
	ifaceMTU  = 1500
	// A longer queue than a TUN's default 500 packets, because a burst of TCP
	// arrives in the hub faster than it is drained.
	ifaceQueue = 1000
)

// A device is a TUN device that exchanges packets together with what a network
// card would still do to them: see vnetHeader. It never blocks.
type device struct {
	fd  int
	iov [2]unix.Iovec // of write: one at a time
}

// openTUN makes the interface of the current network namespace. Nothing is read
// from it until it is up.
func openTUN() (*device, error) {
	fd, _, err := nic.OpenVnet(ifaceName)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	return &device{fd: fd}, nil
}

// read fills b with a header and a packet. It returns EAGAIN if there is none.
func (d *device) read(b []byte) (int, error) { return unix.Read(d.fd, b) }

// write hands a packet to the host's kernel. hdr and pkt must not be empty.
func (d *device) write(hdr, pkt []byte) error {
	d.iov[0].Base, d.iov[1].Base = &hdr[0], &pkt[0]
	d.iov[0].SetLen(len(hdr))
	d.iov[1].SetLen(len(pkt))
	for {
		_, _, e := unix.Syscall(unix.SYS_WRITEV, uintptr(d.fd), uintptr(unsafe.Pointer(&d.iov)), uintptr(len(d.iov)))
		switch e {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return e
		}
	}
}

func (d *device) close() { unix.Close(d.fd) }

// configure brings the current namespace's interfaces up. With valid gateways
// the host is on a LAN, whose router they are; without, it is alone on its line
// and everything is on the link.
func configure(addrs []netip.Addr, gateway, gateway6 netip.Addr) error {
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("lab: loopback: %w", err)
	}
	link, err := nic.Find(ifaceName)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	first4, first6 := slices.IndexFunc(addrs, netip.Addr.Is4), slices.IndexFunc(addrs, netip.Addr.Is6)
	steps := []func() error{
		func() error { return link.SetMTU(ifaceMTU) },
		func() error { return link.SetQueue(ifaceQueue) },
	}
	if first6 >= 0 {
		steps = append(steps, link.NoLinkLocal) // the world would not know it
	}
	ipv6Settings(first6 >= 0)
	for _, a := range addrs {
		bits := a.BitLen()
		switch {
		case a.Is6() && (gateway6.IsValid() || a.IsLinkLocalUnicast()):
			bits = lanBits6
		case a.Is4() && gateway.IsValid():
			bits = lanBits
		}
		steps = append(steps, func() error { return link.AddAddr(netip.PrefixFrom(a, bits)) })
	}
	steps = append(steps, link.Up)
	route := func(r nic.Route) { steps = append(steps, func() error { return link.AddRoute(r) }) }
	if first4 >= 0 {
		route(nic.Route{To: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Src: addrs[first4], Via: gateway})
	}
	if first6 >= 0 {
		if gateway6.IsValid() { // it may be in another network of 64 bits
			route(nic.Route{To: netip.PrefixFrom(gateway6, 128)})
		}
		route(nic.Route{To: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Src: addrs[first6], Via: gateway6})
	}
	for _, a := range addrs {
		if a.Is6() {
			steps = append(steps, func() error { return link.Settle(a) })
		}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("lab: %w", err)
		}
	}
	return nil
}

// ipv6Settings readies the line for addresses that are given by hand, or takes
// IPv6 off it: the kernel would solicit routers for ever. The rest of the host
// keeps its IPv6. On a system that forbids this the line has a few packets more.
func ipv6Settings(on bool) {
	set := func(name, value string) {
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+ifaceName+"/"+name, []byte(value), 0)
	}
	if !on {
		set("disable_ipv6", "1")
		return
	}
	set("disable_ipv6", "0")
	set("accept_ra", "0")
	set("router_solicitations", "0")
}

func loopbackUp() error {
	lo, err := nic.Find("lo")
	if err != nil {
		return err
	}
	return lo.Up()
}
