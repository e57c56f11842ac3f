package firewall

import (
	"errors"
	"net/netip"
	"slices"
	"time"
)

// Errors of the pinhole methods.
var (
	ErrBadPinhole      = errors.New("firewall: a pinhole needs an IPv6 host inside, an IPv6 prefix outside and a lifetime")
	ErrTooManyPinholes = errors.New("firewall: no room for another pinhole")
	ErrNoPinhole       = errors.New("firewall: no pinhole has this ID")
)

// A Pinhole lets outsiders begin flows to an inside host (REC-48), as UPnP's
// WANIPv6FirewallControl and PCP's MAP ask for it.
type Pinhole struct {
	Proto      byte           // IANA's number; 0 = every protocol
	Internal   netip.AddrPort // port 0 = every port
	Remote     netip.Prefix   // zero = everybody
	RemotePort uint16         // 0 = every port
}

// Open is a pinhole in force.
type Open struct {
	Pinhole
	ID      uint16 // not 0
	Expires time.Time
	Packets uint64 // that came in through it, later ones of the same flows not counted
}

// AddPinhole opens a pinhole for a lifetime and returns its ID. One that is
// open already keeps its ID and gets the new lifetime.
func (f *Firewall) AddPinhole(now time.Time, p Pinhole, lifetime time.Duration) (uint16, error) {
	a := p.Internal.Addr()
	if !a.Is6() || a.Is4In6() || a.IsUnspecified() || a.IsMulticast() || lifetime <= 0 ||
		p.Remote != (netip.Prefix{}) && (!p.Remote.IsValid() || !p.Remote.Addr().Is6()) {
		return 0, ErrBadPinhole
	}
	p.Remote = p.Remote.Masked()
	for _, o := range f.live(now) {
		if o.Pinhole == p {
			o.Expires = now.Add(lifetime)
			return o.ID, nil
		}
	}
	if len(f.pinholes) >= f.cfg.MaxPinholes {
		return 0, ErrTooManyPinholes
	}
	for f.lastID++; f.lastID == 0 || f.byID(f.lastID) != nil; f.lastID++ {
	}
	f.pinholes = append(f.pinholes, &Open{Pinhole: p, ID: f.lastID, Expires: now.Add(lifetime)})
	return f.lastID, nil
}

// RenewPinhole gives a pinhole a new lifetime.
func (f *Firewall) RenewPinhole(now time.Time, id uint16, lifetime time.Duration) error {
	f.live(now)
	o := f.byID(id)
	if o == nil {
		return ErrNoPinhole
	}
	if lifetime <= 0 {
		return ErrBadPinhole
	}
	o.Expires = now.Add(lifetime)
	return nil
}

// RemovePinhole closes a pinhole. Flows that came in through it go on.
func (f *Firewall) RemovePinhole(now time.Time, id uint16) error {
	f.live(now)
	o := f.byID(id)
	if o == nil {
		return ErrNoPinhole
	}
	f.pinholes = slices.DeleteFunc(f.pinholes, func(x *Open) bool { return x == o })
	return nil
}

// Pinholes returns those in force at now, oldest first.
func (f *Firewall) Pinholes(now time.Time) []Open {
	var all []Open
	for _, o := range f.live(now) {
		all = append(all, *o)
	}
	return all
}

func (f *Firewall) live(now time.Time) []*Open {
	f.pinholes = slices.DeleteFunc(f.pinholes, func(o *Open) bool { return !now.Before(o.Expires) })
	return f.pinholes
}

func (f *Firewall) byID(id uint16) *Open {
	for _, o := range f.pinholes {
		if o.ID == id {
			return o
		}
	}
	return nil
}

// pinhole finds one for a flow that begins outside.
func (f *Firewall) pinhole(now time.Time, k flow) *Open {
	for _, o := range f.live(now) {
		if (o.Proto == 0 || o.Proto == k.proto) &&
			o.Internal.Addr() == k.inside.Addr() && (o.Internal.Port() == 0 || o.Internal.Port() == k.inside.Port()) &&
			(!o.Remote.IsValid() || o.Remote.Contains(k.remote.Addr())) && (o.RemotePort == 0 || o.RemotePort == k.remote.Port()) {
			return o
		}
	}
	return nil
}
