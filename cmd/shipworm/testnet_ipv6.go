package main

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"

	"shipworm/testnet/firewall"
)

// ipv6Flags are the flags of exec and up for IPv6. It is off unless asked for:
// a program that prefers it goes past the NAT that the network is about.
type ipv6Flags struct {
	on   bool
	name string // of the firewall

	firewall *firewall.Config // nil = none
}

// ipv6Server are the server's addresses beside those of IPv4.
var ipv6Server = []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")}

func (f *ipv6Flags) add(c *cobra.Command) {
	c.Flags().BoolVar(&f.on, "ipv6", false, "IPv6 too, which is not translated")
	c.Flags().StringVar(&f.name, "firewall6", "default-deny", "what stands before a home's IPv6: default-deny or none (`KIND`)")
}

// resolve checks the values.
func (f *ipv6Flags) resolve() error {
	var ok bool
	if !f.on && f.name == "" {
		return nil // a command without these flags
	}
	f.firewall, ok = firewall.Named(f.name)
	switch {
	case !ok:
		return fmt.Errorf("--firewall6 %q: want default-deny or none", f.name)
	case !f.on && f.name != "default-deny":
		return errors.New("--firewall6 needs --ipv6")
	}
	return nil
}

// server returns all addresses of the server.
func (f *ipv6Flags) server() []netip.Addr {
	if !f.on {
		return execServer
	}
	return append(execServer[:len(execServer):len(execServer)], ipv6Server...)
}

// prefix is the network of the i-th home; zero = no IPv6.
func (f *ipv6Flags) prefix(i int) netip.Prefix {
	if !f.on {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 5: byte(0xa + i)}), 64)
}

// host returns the addresses of a home's n-th host, counted from 0; the first of
// the prefix is the router's.
func (f *ipv6Flags) host(i, n int) []netip.Addr {
	if !f.on {
		return nil
	}
	a := f.prefix(i).Addr().As16()
	a[15] = byte(n + 2)
	return []netip.Addr{netip.AddrFrom16(a)}
}
