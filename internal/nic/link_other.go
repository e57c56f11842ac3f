//go:build !linux

package nic

import (
	"errors"
	"fmt"
	"net/netip"
)

// Link is a network interface; this system offers no way to change one.
type Link struct{}

// Find fails: this system offers no way to change an interface.
func Find(name string) (*Link, error) {
	return nil, fmt.Errorf("%s: addresses and routes: %w", name, errors.ErrUnsupported)
}

// SetMTU is never reached.
func (*Link) SetMTU(int) error { return errors.ErrUnsupported }

// SetSegments is never reached.
func (*Link) SetSegments(int) error { return errors.ErrUnsupported }

// IsUp is never reached.
func (*Link) IsUp() bool { return false }

// Up is never reached.
func (*Link) Up() error { return errors.ErrUnsupported }

// NoLinkLocal is never reached.
func (*Link) NoLinkLocal() error { return errors.ErrUnsupported }

// AddAddr is never reached.
func (*Link) AddAddr(netip.Prefix) error { return errors.ErrUnsupported }

// Settle is never reached.
func (*Link) Settle(netip.Addr) error { return errors.ErrUnsupported }

// DelAddr is never reached.
func (*Link) DelAddr(netip.Prefix) error { return errors.ErrUnsupported }

// Route is a route through a Link.
type Route struct {
	To       netip.Prefix
	Via, Src netip.Addr
	Metric   int
}

// Leads is never reached.
func (*Link) Leads(netip.Addr) (bool, error) { return false, errors.ErrUnsupported }

// AddRoute is never reached.
func (*Link) AddRoute(Route) error { return errors.ErrUnsupported }
