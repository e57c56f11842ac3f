package tun

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"syscall"

	"shipworm/internal/nic"
	"shipworm/teredo/wire"
)

// NewAssign returns what gives the named interface its address: a function for
// Config.Assign that needs CAP_NET_ADMIN. Only Teredo addresses are given, and
// only those are taken away that were given. Called again with the address that
// the interface is to have, it puts back what somebody took away meanwhile, the
// routes as well; an interface that is down is left alone. defaultRoute is
// Config.DefaultRoute.
func NewAssign(name string, defaultRoute bool) func(netip.Addr) error {
	var have netip.Addr
	return func(a netip.Addr) error {
		if a.IsValid() && !wire.Prefix().Contains(a) {
			return fmt.Errorf("%v: %w", a, wire.ErrNotTeredo)
		}
		link, err := nic.Find(name)
		if err != nil {
			return err
		}
		if a.IsValid() && link.IsUp() {
			if err := link.AddAddr(netip.PrefixFrom(a, 128)); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			for _, to := range hostRoutes(defaultRoute) {
				err := link.AddRoute(nic.Route{To: to, Metric: Metric})
				if errors.Is(err, syscall.ENETDOWN) {
					break // it went down in this moment
				}
				if err != nil && !errors.Is(err, fs.ErrExist) {
					return err
				}
			}
		}
		old := have
		have = a
		if old == a || !old.IsValid() {
			return nil
		}
		if err := link.DelAddr(netip.PrefixFrom(old, 128)); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			return err
		}
		return nil // somebody else took it away
	}
}

// NewWatch returns a function for Config.Assign where the address is another
// interface's. It needs no privilege, and so cannot put back what somebody took
// away: without the route into an interface that is up it fails.
func NewWatch(name string) func(netip.Addr) error {
	return func(netip.Addr) error { return checkRoute(name) }
}

func checkRoute(name string) error {
	link, err := nic.Find(name)
	if err != nil || !link.IsUp() {
		return nil // who reads it hears if it is gone
	}
	if leads, err := link.Leads(wire.Prefix().Addr().Next()); err == nil && !leads {
		return fmt.Errorf("somebody took the route to %v away", wire.Prefix())
	}
	return nil
}

// A request is an address, sixteen zeros for none; the answer a byte with the
// length of an error's text, and the text.

// RemoteAssign returns a function for Config.Assign that asks a process with
// the privilege, in which ServeAssign runs at the other end of rw.
func RemoteAssign(rw io.ReadWriter) func(netip.Addr) error {
	return func(a netip.Addr) error {
		var b [256]byte
		if a.IsValid() {
			*(*[16]byte)(b[:]) = a.As16()
		}
		if _, err := rw.Write(b[:16]); err != nil {
			return err
		}
		if _, err := io.ReadFull(rw, b[:1]); err != nil {
			return err
		}
		text := b[1 : 1+int(b[0])]
		if _, err := io.ReadFull(rw, text); err != nil {
			return err
		}
		if len(text) > 0 {
			return errors.New(string(text))
		}
		return nil
	}
}

// ServeAssign answers RemoteAssign until the other end is closed, and returns
// nil then.
func ServeAssign(rw io.ReadWriter, assign func(netip.Addr) error) error {
	for {
		var b [16]byte
		if _, err := io.ReadFull(rw, b[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		var a netip.Addr
		if b != [16]byte{} {
			a = netip.AddrFrom16(b)
		}
		text := ""
		if err := assign(a); err != nil {
			text = err.Error()
		}
		text = text[:min(len(text), 255)]
		if _, err := rw.Write(append([]byte{byte(len(text))}, text...)); err != nil {
			return err
		}
	}
}
