package teredo

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"shipworm/teredo/udp"
)

// First and last of the random service ports. RFC 6335, 6.
const firstPort, lastPort = 49152, 65535

// withLocal adds the host's own addresses and attached subnets to p.
func withLocal(p Policy) (Policy, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return p, fmt.Errorf("list the host's addresses: %w", err)
	}
	p.Own, p.Inside = slices.Clone(p.Own), slices.Clone(p.Inside)
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		bits, size := n.Mask.Size()
		if ip = ip.Unmap(); !ok || !ip.Is4() || size == 0 {
			continue
		}
		p.Own = append(p.Own, ip)
		if bits -= size - 32; bits > 0 {
			p.Inside = append(p.Inside, netip.PrefixFrom(ip, bits).Masked())
		}
	}
	return p, nil
}

// localAddr returns the address that the system would send from to server,
// with the given port. It sends nothing.
func localAddr(server netip.Addr, port uint16) netip.AddrPort {
	c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(server, Port)))
	if err != nil {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), port)
	}
	defer c.Close()
	return netip.AddrPortFrom(c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), port)
}

// openSocket opens the service port: the configured one, or a random one.
func (c *Client) openSocket(ctx context.Context) (udp.Socket, error) {
	if c.cfg.Port != 0 {
		return c.listen(ctx, c.cfg.Port)
	}
	source := c.cfg.Rand
	if source == nil {
		source = rand.Reader
	}
	var err error
	for range 16 {
		var b [2]byte
		if _, err := io.ReadFull(source, b[:]); err != nil {
			return nil, fmt.Errorf("randomness: %w", err)
		}
		// The range is a power of two wide, so no port is favoured.
		port := firstPort + binary.BigEndian.Uint16(b[:])%(lastPort-firstPort+1)
		var s udp.Socket
		if s, err = c.listen(ctx, port); err == nil {
			return s, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return nil, err
}

func (c *Client) listen(ctx context.Context, port uint16) (udp.Socket, error) {
	return c.listenAs(ctx, port, udp.Config{Runs: true})
}

func (c *Client) listenAs(ctx context.Context, port uint16, cfg udp.Config) (udp.Socket, error) {
	cfg.Plain = c.cfg.Plain
	local := netip.AddrPortFrom(netip.IPv4Unspecified(), port)
	if c.cfg.Listen == nil {
		return udp.Listen(ctx, local, cfg)
	}
	pc, err := c.cfg.Listen(ctx, local)
	if err != nil {
		return nil, err
	}
	return udp.From(pc, cfg), nil
}
