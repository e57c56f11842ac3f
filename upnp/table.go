package upnp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"shipworm/upnp/igd"
	"shipworm/upnp/journal"
)

// Entry is a mapping in a router's table.
type Entry struct {
	Protocol    string // TCP or UDP
	External    uint16
	Internal    netip.AddrPort
	Description string        // foreign text
	Lease       time.Duration // what is left, 0 for ever
	Enabled     bool
	Ours        bool // of this host, and made by a Mapper that UPnP or the journal knows
}

// Bounds of List.
const (
	maxEntries = 1024
	listTime   = 5 * time.Second
)

// List returns the router's table, as UPnP tells it; the other protocols cannot
// be asked. The entries so far come with an error: of a router that shows no
// table those in the journal.
func (m *Mapper) List(ctx context.Context) ([]Entry, error) {
	g, err := m.gateway(netip.IPv4Unspecified())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	written := m.written(g)
	d, err := m.findDevice(ctx, g)
	if err != nil {
		return written, fmt.Errorf("upnp: router %v shows no table: %w", g.Addr, &ProtocolError{ViaUPnP, err})
	}
	var out []Entry
	for i := range maxEntries {
		e, err := d.wan.PortMappingAt(ctx, i)
		switch {
		case igd.IsFault(err, igd.CodeNoSuchIndex, igd.CodeInvalidArgs, igd.CodeNoSuchEntry):
			return out, nil
		case errors.Is(err, igd.ErrAnswer): // one senseless entry hides no others
			continue
		case err != nil:
			return out, &ProtocolError{ViaUPnP, err}
		}
		out = append(out, Entry{
			Protocol: e.Protocol, External: e.External, Internal: e.Internal, Description: e.Description,
			Lease: e.Lease, Enabled: e.Enabled, Ours: ours(e, g) || slices.ContainsFunc(written, func(w Entry) bool {
				return w.Protocol == e.Protocol && w.External == e.External && w.Internal == e.Internal
			}),
		})
	}
	return out, nil
}

// written returns what this and other processes have mapped on a router, as far
// as the journal knows.
func (m *Mapper) written(g Gateway) []Entry {
	if m.journal == nil {
		return nil
	}
	all, err := m.journal.Entries()
	if err != nil {
		m.cfg.Logger.Debug("port mapping journal", "err", err)
	}
	var out []Entry
	for _, e := range all {
		if e.Asked || e.Expired(time.Now()) || !e.Internal.Addr().Is4() || e.Gateway != g.Addr {
			continue
		}
		one := Entry{Protocol: e.Protocol, External: e.External, Internal: e.Internal, Description: e.Via, Enabled: true, Ours: true}
		if !e.Expires.IsZero() {
			one.Lease = time.Until(e.Expires).Round(time.Second)
		}
		out = append(out, one)
	}
	return out
}

func ours(e igd.PortMapping, g Gateway) bool {
	return e.Internal.Addr() == g.Local.Addr() && strings.HasPrefix(e.Description, descriptionPrefix)
}

// Add maps a port once, by whatever protocol is fastest, and leaves it mapped:
// it lives until its lease ends or Delete. A permanent mapping, and one by PCP
// that is to be deleted again, needs a journal. Nothing has to be bound to the
// port: the program may come later.
func (m *Mapper) Add(ctx context.Context, r Request) (Mapping, error) {
	if err := r.check(); err != nil {
		return Mapping{}, err
	}
	g, err := m.gateway(r.Internal.Addr())
	if err != nil {
		return Mapping{}, err
	}
	if r.External == 0 {
		r.External = r.Internal.Port()
	}
	if r.Lifetime == 0 {
		r.Lifetime = m.cfg.Lease
	}
	nonce, err := m.nonce(&r)
	if err != nil {
		return Mapping{}, err
	}
	w := m.want(g, r, nonce)
	w.lasting = true
	var late sync.WaitGroup
	doubted := false
	a, got, err := w.attempt(ctx, netip.AddrPortFrom(netip.Addr{}, r.External), &late, func() { doubted = true })
	late.Wait()
	if err != nil {
		return Mapping{}, ctxErr(ctx, err)
	}
	defer a.abandon()
	if doubted {
		got, _, err = a.check(ctx, true)
	}
	return got, err
}

// Delete removes the mapping and the IPv6 pinhole of an external port that Add
// made, or the mapping that a Mapper of this host left behind. It returns
// ErrNoMapping if there is none and ErrNotOurs if it is another's.
func (m *Mapper) Delete(ctx context.Context, p Protocol, external uint16) error {
	if m.cfg.Network == Public {
		return ErrPublicNetwork
	}
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	done, foreign := m.deleteWritten(ctx, p, external)
	if done || foreign != nil && !errors.Is(foreign, ErrNotOurs) {
		return ctxErr(ctx, foreign)
	}
	g, err := m.gateway(netip.IPv4Unspecified())
	if err != nil {
		return err
	}
	d, err := m.findDevice(ctx, g)
	if errors.Is(err, ErrNoDevice) {
		return cmp.Or(foreign, ErrNoMapping) // as far as the journal knows, and nobody else does
	} else if err != nil {
		return err
	}
	e, err := d.wan.GetPortMapping(ctx, p.String(), external)
	switch {
	case igd.IsFault(err, igd.CodeNoSuchEntry):
		return ErrNoMapping
	case err != nil:
		return &ProtocolError{ViaUPnP, err}
	case !ours(e, g):
		return ErrNotOurs
	}
	return d.wan.DeletePortMapping(ctx, p.String(), external)
}

// deleteWritten removes what the journal knows from Add, or of processes that
// died: the mapping of the port, and the pinhole.
func (m *Mapper) deleteWritten(ctx context.Context, p Protocol, external uint16) (done bool, err error) {
	if m.journal == nil {
		return false, nil
	}
	records, err := m.journal.Left()
	errs := []error{err}
	for _, r := range records {
		if r.Entry.External == external && r.Entry.Protocol == p.String() && !r.Entry.Asked {
			ok, err := m.deleteOne(ctx, r)
			done = done || ok
			errs = append(errs, err)
		}
		r.Close()
	}
	if done { // what was another's by now does not count
		errs = slices.DeleteFunc(errs, func(err error) bool { return errors.Is(err, ErrNotOurs) })
	}
	return done, errors.Join(errs...)
}

func (m *Mapper) deleteOne(ctx context.Context, r *journal.Record) (bool, error) {
	if r.Entry.Expired(time.Now()) {
		return false, r.Remove()
	}
	err := m.remove(ctx, &r.Entry)
	switch {
	case errors.Is(err, errElsewhere):
		return false, nil
	case errors.Is(err, ErrNotOurs): // it is another's by now, or that of a later Add
		return false, errors.Join(err, r.Remove())
	case err != nil:
		return false, err
	}
	return true, r.Remove()
}
