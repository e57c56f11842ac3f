//go:build linux

package main

import (
	"context"
	"net"
	"net/netip"

	"shipworm/internal/nic"
)

// naivePort is the UDP port of both ends.
const naivePort = 4000

// naiveRole is the tunnel that one writes first, as a measure of what the
// effort of the others is worth: a TUN device and a UDP socket, one packet a
// system call, one goroutine a direction, and nothing looked at.
func naiveRole(_ context.Context, args []string) (string, map[string]func(order) (answer, error), error) {
	own, peer, inner := args[0], args[1], args[2]
	tun, err := nic.OpenTUN("naive")
	if err != nil {
		return "", nil, err
	}
	link, err := nic.Find(tun.Name())
	if err != nil {
		return "", nil, err
	}
	for _, step := range []func() error{
		link.NoLinkLocal,
		func() error { return link.SetMTU(innerMTU) },
		func() error { return link.AddAddr(netip.PrefixFrom(netip.MustParseAddr(inner), 64)) },
		link.Up,
	} {
		if err := step(); err != nil {
			return "", nil, err
		}
	}
	local := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(own), naivePort))
	conn, err := net.ListenUDP("udp4", local)
	if err != nil {
		return "", nil, err
	}
	_ = conn.SetReadBuffer(4 << 20) // as much as the kernel grants
	to := netip.AddrPortFrom(netip.MustParseAddr(peer), naivePort)
	go func() {
		b := make([]byte, 2048)
		for {
			n, err := tun.Read(b)
			if err != nil {
				return
			}
			_, _ = conn.WriteToUDPAddrPort(b[:n], to)
		}
	}()
	go func() {
		b := make([]byte, 2048)
		for {
			n, _, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = tun.Write(b[:n])
		}
	}()
	return inner, nil, nil
}
