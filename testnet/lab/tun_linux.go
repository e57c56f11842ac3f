package lab

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/songgao/water"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Every host's one interface. The name is the one that programs expect on a
// machine; MTU is Ethernet's.
const (
	ifaceName = "eth0"
	ifaceMTU  = 1500
	// A longer queue than a TUN's default 500 packets, because a burst of TCP
	// arrives in the hub faster than one reader drains it.
	ifaceQueue = 1000
)

// openTUN makes the interface of the current network namespace. Nothing is read
// from it until it is up.
func openTUN() (io.ReadWriteCloser, error) {
	// water opens the device without O_CLOEXEC. The lock keeps a program from
	// being started, and from inheriting the device, before the flag is set.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	cfg := water.Config{DeviceType: water.TUN}
	cfg.Name = ifaceName
	tun, err := water.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("lab: creating a TUN device: %w", err)
	}
	file, ok := tun.ReadWriteCloser.(syscall.Conn)
	if !ok {
		tun.Close()
		return nil, fmt.Errorf("lab: creating a TUN device: no file descriptor")
	}
	raw, err := file.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { unix.CloseOnExec(int(fd)) })
	}
	if err != nil {
		tun.Close()
		return nil, fmt.Errorf("lab: creating a TUN device: %w", err)
	}
	return tun.ReadWriteCloser, nil
}

// configure brings the current namespace's interfaces up. With a valid gateway
// the host is on a LAN of prefix length bits, whose router is the gateway;
// without, it is alone on its line and everything is on the link.
func configure(addrs []netip.Addr, bits int, gateway netip.Addr) error {
	// The hub carries IPv4 only; without this the kernel would solicit routers
	// on the line for ever. The rest of the host keeps its IPv6.
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+ifaceName+"/disable_ipv6", []byte("1"), 0)
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("lab: loopback: %w", err)
	}
	link, err := netlink.LinkByName(ifaceName)
	if err != nil {
		return fmt.Errorf("lab: %s: %w", ifaceName, err)
	}
	for _, a := range addrs {
		addr := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(a, bits))}
		if err := netlink.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("lab: %s: address %v: %w", ifaceName, a, err)
		}
	}
	if err := netlink.LinkSetMTU(link, ifaceMTU); err != nil {
		return fmt.Errorf("lab: %s: MTU: %w", ifaceName, err)
	}
	if err := netlink.LinkSetTxQLen(link, ifaceQueue); err != nil {
		return fmt.Errorf("lab: %s: queue: %w", ifaceName, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("lab: %s: up: %w", ifaceName, err)
	}
	route := &netlink.Route{
		LinkIndex: link.Attrs().Index,
		Dst:       ipNet(netip.PrefixFrom(netip.IPv4Unspecified(), 0)),
		Src:       net.IP(addrs[0].AsSlice()),
		Scope:     netlink.SCOPE_LINK,
	}
	if gateway.IsValid() {
		route.Gw = net.IP(gateway.AsSlice())
		route.Scope = netlink.SCOPE_UNIVERSE
	}
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("lab: %s: default route: %w", ifaceName, err)
	}
	return nil
}

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{
		IP:   net.IP(p.Addr().AsSlice()),
		Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
	}
}
