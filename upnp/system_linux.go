package upnp

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

const bindExcludes = true

// Gateway implements Host. The kernel's main table counts: a VPN that keeps
// its default route in another one does not hide the router of the link.
func (system) Gateway(local netip.Addr) (Gateway, error) {
	local = local.Unmap()
	file, parse := "/proc/thread-self/net/route", parseRoute4
	if local.Is6() {
		file, parse = "/proc/thread-self/net/ipv6_route", parseRoute6
	}
	f, err := os.Open(file)
	if err != nil {
		return Gateway{}, fmt.Errorf("%w: %w", ErrNoGateway, err)
	}
	defer f.Close()
	return pickGateway(f, parse, local, func(name string, gateway netip.Addr) (netip.Prefix, error) {
		ifi, err := net.InterfaceByName(name)
		if err != nil {
			return netip.Prefix{}, err
		}
		return localTo(ifi, gateway, local)
	})
}

// pickGateway returns the default route of the smallest metric whose interface
// has the local address.
func pickGateway(table io.Reader, parse func([]string) (defaultRoute, bool), local netip.Addr,
	localOn func(name string, gateway netip.Addr) (netip.Prefix, error),
) (Gateway, error) {
	best, metric, why := Gateway{}, uint32(math.MaxUint32), ErrNoGateway
	for s := bufio.NewScanner(table); s.Scan(); {
		r, ok := parse(strings.Fields(s.Text()))
		if !ok || best.Addr.IsValid() && r.metric >= metric {
			continue
		}
		p, err := localOn(r.dev, r.gateway)
		if err != nil {
			if errors.Is(err, ErrNoGateway) {
				why = err
			}
			continue
		}
		gateway := r.gateway
		if gateway.IsLinkLocalUnicast() && gateway.Is6() {
			gateway = gateway.WithZone(r.dev)
		}
		best, metric = Gateway{Addr: gateway, Local: p, Interface: r.dev}, r.metric
	}
	if !best.Addr.IsValid() {
		return Gateway{}, why
	}
	return best, nil
}

type defaultRoute struct {
	dev     string
	gateway netip.Addr
	metric  uint32
}

// Flags of a route (linux/route.h).
const (
	routeUp      = 0x1
	routeGateway = 0x2
)

// parseRoute4 reads a line of /proc/net/route: Iface Destination Gateway Flags
// RefCnt Use Metric Mask; the addresses are in the machine's byte order.
func parseRoute4(f []string) (defaultRoute, bool) {
	if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
		return defaultRoute{}, false
	}
	flags, err1 := strconv.ParseUint(f[3], 16, 32)
	metric, err2 := strconv.ParseUint(f[6], 10, 32)
	gw, err3 := hex.DecodeString(f[2])
	if errors.Join(err1, err2, err3) != nil || len(gw) != 4 || flags&(routeUp|routeGateway) != routeUp|routeGateway {
		return defaultRoute{}, false
	}
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], binary.BigEndian.Uint32(gw))
	return defaultRoute{f[0], netip.AddrFrom4(b), uint32(metric)}, true
}

// parseRoute6 reads a line of /proc/net/ipv6_route: destination, its length,
// source, its length, gateway, metric, references, use, flags, device.
func parseRoute6(f []string) (defaultRoute, bool) {
	if len(f) < 10 || f[1] != "00" || f[3] != "00" {
		return defaultRoute{}, false
	}
	flags, err1 := strconv.ParseUint(f[8], 16, 32)
	metric, err2 := strconv.ParseUint(f[5], 16, 32)
	gw, err3 := hex.DecodeString(f[4])
	if errors.Join(err1, err2, err3) != nil || len(gw) != 16 || flags&(routeUp|routeGateway) != routeUp|routeGateway {
		return defaultRoute{}, false
	}
	return defaultRoute{f[9], netip.AddrFrom16([16]byte(gw)), uint32(metric)}, true
}
