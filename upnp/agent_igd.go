package upnp

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strings"
	"time"

	"shipworm/upnp/igd"
	"shipworm/upnp/journal"
)

// descriptionPrefix begins the description of every mapping of ours; what
// follows is random, and neither a user's nor a host's name.
const descriptionPrefix = "shipworm "

// maxConflicts is how many ports are tried that turn out to be taken.
const maxConflicts = 4

// igdAgent asks a UPnP gateway device: for a port mapping on IPv4, for a
// pinhole on IPv6.
type igdAgent struct {
	want
	note
	description string
	device      *device
	mapping     Mapping // zero: none yet
	pinhole     string
	looked      time.Time // when the device was asked for the mapping itself
	boot        string    // the device's start as seen last, "" if it does not tell
}

func newIGDAgent(w want) (*igdAgent, error) {
	a := &igdAgent{want: w}
	a.note.w = &a.want
	var id [10]byte
	_, err := io.ReadFull(w.m.cfg.Rand, id[:])
	a.description = descriptionPrefix + idText(id)
	return a, err
}

// idText spells 50 bits in lower-case letters and digits.
func idText(id [10]byte) string {
	const digits = "abcdefghijklmnopqrstuvwxyz234567"
	for i, b := range id {
		id[i] = digits[b%32]
	}
	return string(id[:])
}

// obtain implements agent.
func (a *igdAgent) obtain(ctx context.Context, suggest netip.AddrPort, gate <-chan struct{}) (Mapping, error) {
	known := a.device != nil
	if !known && ctx.Err() == nil {
		d, err := a.m.findDevice(ctx, a.gateway)
		if err != nil {
			return Mapping{}, &ProtocolError{ViaUPnP, err}
		}
		a.device, a.boot = d, d.boot
	}
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return Mapping{}, ctx.Err()
		}
	}
	if ctx.Err() != nil {
		return Mapping{}, ctx.Err()
	}
	// What was begun is brought to its end: a request that the device has taken
	// is not unmade by hanging up.
	longer, stop := outlive(ctx, time.Second)
	defer stop()
	m, err := a.request(longer, suggest.Port())
	if err == nil {
		a.mapping, a.looked = m, time.Now()
		return m, nil
	}
	var fault *igd.Fault
	if !errors.As(err, &fault) && !errors.Is(err, ErrNotOurs) {
		a.m.forgetDevice(a.device)
		a.device = nil
		if known && ctx.Err() == nil { // perhaps its control port has changed
			return a.obtain(ctx, suggest, nil)
		}
	}
	return Mapping{}, &ProtocolError{ViaUPnP, err}
}

// request makes or renews the mapping or pinhole on the device.
func (a *igdAgent) request(ctx context.Context, port uint16) (Mapping, error) {
	if a.internal.Addr().Is6() {
		return a.addPinhole(ctx)
	}
	m, err := a.addPort(ctx, port)
	if err != nil || m.Lifetime >= a.mapping.Lifetime*3/4 {
		return m, err
	}
	// Renewed, but not prolonged, as by old versions of miniupnpd.
	if err := a.drop(ctx); err != nil {
		return Mapping{}, err
	}
	return a.addPort(ctx, port)
}

// addPort maps, and works around what a refusal tells.
func (a *igdAgent) addPort(ctx context.Context, port uint16) (Mapping, error) {
	held := a.mapping.External.Port()
	lease, conflicts := a.lifetime, 0
	if a.mapping.IsValid() && a.mapping.Lifetime == 0 {
		lease = 0
	}
	for {
		if port != held {
			if err := a.unused(ctx, port); errors.Is(err, ErrNotOurs) {
				if conflicts++; conflicts > maxConflicts {
					return Mapping{}, err
				}
				if port, err = a.randomPort(); err != nil {
					return Mapping{}, err
				}
				continue
			} else if err != nil {
				return Mapping{}, err
			}
		}
		if lease == 0 && a.m.journal == nil {
			return Mapping{}, ErrPermanentOnly
		}
		if err := a.write(a.asked(port, lease)); err != nil {
			return Mapping{}, err
		}
		err := a.device.wan.AddPortMapping(ctx, igd.PortMapping{
			Protocol: a.protocol.String(), External: port, Internal: a.internal, Description: a.description, Lease: lease,
		})
		switch {
		case err == nil:
			return a.granted(ctx, port, lease)
		case igd.IsFault(err, igd.CodePermanentLeaseOnly, igd.CodeInvalidArgs) && lease != 0:
			lease = 0
		case igd.IsFault(err, igd.CodeConflict, igd.CodeConflictsWithOther) && port == held:
			// Ours, but some do not renew what they listed another way.
			if err := a.deleteOurs(ctx); err != nil {
				return Mapping{}, err
			}
			held = 0
		case igd.IsFault(err, igd.CodeConflict, igd.CodeConflictsWithOther) && conflicts < maxConflicts:
			conflicts++
			var bad error
			if port, bad = a.randomPort(); bad != nil {
				return Mapping{}, bad
			}
		case igd.IsFault(err, igd.CodeSamePortRequired) && port != a.internal.Port():
			port = a.internal.Port()
		default:
			if errors.As(err, new(*igd.Fault)) && !a.mapping.IsValid() {
				a.erase()
			}
			return Mapping{}, err
		}
	}
}

// unused returns ErrNotOurs if somebody else has the port: some routers would
// take it away from them. A router that cannot tell is believed to refuse.
func (a *igdAgent) unused(ctx context.Context, port uint16) error {
	have, err := a.device.wan.GetPortMapping(ctx, a.protocol.String(), port)
	switch {
	case errors.As(err, new(*igd.Fault)), errors.Is(err, igd.ErrAnswer):
		return nil
	case err != nil:
		return err
	case have.Internal == a.internal && strings.HasPrefix(have.Description, descriptionPrefix):
		return nil // left behind by an earlier run
	}
	return ErrNotOurs
}

// granted reads back what the router really has: some shorten a lease or enter
// another client. The description decides whether it is ours.
func (a *igdAgent) granted(ctx context.Context, port uint16, lease time.Duration) (Mapping, error) {
	m := Mapping{
		Protocol: a.protocol, Internal: a.internal, Via: ViaUPnP, Gateway: a.device.Addr, Lifetime: lease,
		External: netip.AddrPortFrom(a.device.external, port), DoubleNAT: a.device.double,
	}
	have, err := a.device.wan.GetPortMapping(ctx, a.protocol.String(), port)
	switch {
	case err != nil: // not every router can tell
	case have.Internal.Addr() != a.internal.Addr() || have.Internal.Port() != a.internal.Port():
		return Mapping{}, ErrNotOurs
	default:
		if strings.HasPrefix(a.description, have.Description) {
			a.description = have.Description // some cut it
		}
		if lease > 0 && have.Lease > 0 {
			m.Lifetime = min(lease, have.Lease)
		}
	}
	return m, a.write(a.entry(port, m.Lifetime))
}

func (a *igdAgent) entry(port uint16, lease time.Duration) journal.Entry {
	e := journal.Entry{Via: ViaUPnP.String(), External: port, Description: a.description, Pinhole: a.pinhole}
	if lease > 0 {
		e.Expires = time.Now().Add(lease)
	}
	return e
}

// asked is the entry before the device is asked: of one that has the mapping
// already it is as it was.
func (a *igdAgent) asked(port uint16, lease time.Duration) journal.Entry {
	e := a.entry(port, lease)
	e.Asked = !a.mapping.IsValid()
	return e
}

// randomPort returns a dynamic port.
func (a *igdAgent) randomPort() (uint16, error) {
	var b [2]byte
	_, err := io.ReadFull(a.m.cfg.Rand, b[:])
	return 49152 + binary.BigEndian.Uint16(b[:])%(65535-49152), err
}

func (a *igdAgent) addPinhole(ctx context.Context) (Mapping, error) {
	m := Mapping{Protocol: a.protocol, Internal: a.internal, External: a.internal, Via: ViaUPnP, Gateway: a.device.Addr, Lifetime: a.lifetime}
	if a.pinhole != "" {
		if err := a.device.Firewall.UpdatePinhole(ctx, a.pinhole, a.lifetime); err == nil {
			return m, a.write(a.entry(a.internal.Port(), a.lifetime))
		} else if !errors.As(err, new(*igd.Fault)) {
			return Mapping{}, err
		}
		a.pinhole = ""
	}
	if err := a.write(a.asked(a.internal.Port(), a.lifetime)); err != nil {
		return Mapping{}, err
	}
	id, err := a.device.Firewall.AddPinhole(ctx, uint8(a.protocol), a.internal, a.lifetime)
	if err != nil {
		if errors.As(err, new(*igd.Fault)) {
			a.erase()
		}
		return Mapping{}, err
	}
	a.pinhole = id
	return m, a.write(a.entry(a.internal.Port(), a.lifetime))
}

// lookEvery is how often the device is asked for its address and the mapping
// itself. In between it shows that it has not been restarted, which takes two
// packets, or the mapping alone where it cannot.
const lookEvery = time.Minute

// check implements agent.
func (a *igdAgent) check(ctx context.Context, doubt bool) (Mapping, bool, error) {
	now := time.Now()
	soon := now.Sub(a.looked) < lookEvery
	if !doubt && soon && a.device != nil && a.boot != "" {
		was := a.boot
		if a.boot = a.m.boot(ctx, a.gateway, a.device); a.boot == was {
			return a.mapping, false, nil
		}
		a.boot = cmp.Or(a.boot, was)
	}
	if !soon {
		a.looked = now
	}
	if a.device == nil || a.internal.Addr().Is6() {
		m, err := a.obtain(ctx, a.mapping.External, nil)
		return m, true, err
	}
	have, err := a.device.wan.GetPortMapping(ctx, a.protocol.String(), a.mapping.External.Port())
	if err == nil && (have.Internal != a.internal || have.Description != a.description) {
		a.erase() // it has become another's
		a.mapping = Mapping{}
		return Mapping{}, false, &ProtocolError{ViaUPnP, ErrNotOurs}
	}
	if err != nil {
		m, err := a.obtain(ctx, a.mapping.External, nil)
		return m, true, err
	}
	if soon {
		return a.mapping, false, nil
	}
	if ip, err := a.device.wan.ExternalAddress(ctx); err == nil {
		a.mapping.External, a.mapping.DoubleNAT = judged(netip.AddrPortFrom(ip, a.mapping.External.Port()), a.gateway)
		a.device.external, a.device.double = a.mapping.External.Addr(), a.mapping.DoubleNAT
	}
	return a.mapping, false, nil
}

// drop implements agent. Only what carries our description is deleted. As in
// [Mapper.ask], who comes late to it, or comes late to the answer because the
// host stood still, asks nevertheless, once more: twice does no harm.
func (a *igdAgent) drop(ctx context.Context) error {
	defer func() { a.mapping, a.pinhole = Mapping{}, "" }()
	if !a.mapping.IsValid() {
		a.abandon()
		return nil
	}
	err := a.remove(ctx)
	if err != nil && ctx.Err() != nil {
		again, cancel := context.WithTimeout(context.WithoutCancel(ctx), lateness(ctx))
		err = a.remove(again)
		cancel()
	}
	if err != nil && !errors.Is(err, ErrNotOurs) {
		a.abandon()
		return &ProtocolError{ViaUPnP, err}
	}
	a.erase()
	return nil
}

// remove asks for the removal of the mapping or pinhole.
func (a *igdAgent) remove(ctx context.Context) error {
	if a.device == nil { // a question to it came to nothing
		d, err := a.m.findDevice(ctx, a.gateway)
		if err != nil {
			return err
		}
		a.device = d
	}
	if a.pinhole != "" {
		return a.device.Firewall.DeletePinhole(ctx, a.pinhole)
	}
	return a.deleteOurs(ctx)
}

// deleteOurs removes the mapping, unless it has become another's.
func (a *igdAgent) deleteOurs(ctx context.Context) error {
	err := deleteEntry(ctx, a.device.wan, a.protocol.String(), a.mapping.External.Port(), a.internal, a.description)
	if errors.As(err, new(*igd.Fault)) { // a router that cannot tell whose it is
		err = a.device.wan.DeletePortMapping(ctx, a.protocol.String(), a.mapping.External.Port())
	}
	return err
}

// deleteEntry removes an entry of a router's table if its description and its
// internal endpoint are these, and says ErrNotOurs if not. The error is a Fault
// of a router that does not tell, or does not delete.
func deleteEntry(ctx context.Context, wan *igd.Service, protocol string, external uint16, internal netip.AddrPort, description string) error {
	have, err := wan.GetPortMapping(ctx, protocol, external)
	switch {
	case igd.IsFault(err, igd.CodeNoSuchEntry):
		return nil
	case err != nil:
		return err
	case have.Internal != internal || have.Description != description:
		return ErrNotOurs
	}
	return wan.DeletePortMapping(ctx, protocol, external)
}

// outlive returns a context that ends d after ctx.
func outlive(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(d, cancel)
		context.AfterFunc(out, func() { t.Stop() })
	})
	return out, func() { stop(); cancel() }
}
