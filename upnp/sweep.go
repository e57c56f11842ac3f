package upnp

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"shipworm/upnp/igd"
	"shipworm/upnp/journal"
	"shipworm/upnp/pcp"
)

// Sweep removes from the router what processes left there that were killed, as
// far as the journal knows and the router agrees that it is ours. It returns
// how many mappings are gone. [Mapper.Keep] begins with it. Entries of routers
// that are not this network's wait for another day.
func (m *Mapper) Sweep(ctx context.Context) (removed int, err error) {
	if m.journal == nil {
		return 0, nil
	}
	if m.cfg.Network == Public {
		return 0, ErrPublicNetwork
	}
	records, err := m.journal.Orphans()
	errs := []error{err}
	for _, r := range records {
		if ctx.Err() != nil {
			r.Close()
			continue
		}
		ok, err := m.sweepOne(ctx, r)
		if ok {
			removed++
		}
		errs = append(errs, err)
	}
	return removed, errors.Join(errs...)
}

// sweepOne removes one orphan, or leaves it as it is.
func (m *Mapper) sweepOne(ctx context.Context, r *journal.Record) (removed bool, err error) {
	defer r.Close()
	if r.Entry.Expired(time.Now()) {
		return false, r.Remove()
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	err = m.remove(ctx, &r.Entry)
	switch {
	case errors.Is(err, errElsewhere):
		return false, nil
	case r.Entry.Asked && (errors.Is(err, ErrSilent) || errors.Is(err, errNoService)):
		return false, r.Remove() // silent then and silent now: it speaks no such protocol
	case err != nil && !errors.Is(err, ErrNotOurs):
		return false, err
	}
	return err == nil, r.Remove()
}

// nonce returns a fresh one, or that of the mapping that a process left behind
// for the same port: who cannot show it is refused (RFC 6887, 11.3). What is in
// the journal stays there for [Mapper.Sweep].
func (m *Mapper) nonce(r *Request) (n pcp.Nonce, err error) {
	if m.journal == nil {
		_, err = io.ReadFull(m.cfg.Rand, n[:])
		return n, err
	}
	records, err := m.journal.Left()
	if err != nil {
		m.cfg.Logger.Debug("port mapping journal", "err", err)
	}
	found := false
	for _, old := range records {
		e := &old.Entry
		same := e.Internal.Port() == r.Internal.Port() && e.Internal.Addr().Is4() == r.Internal.Addr().Is4() && e.Protocol == r.Protocol.String()
		if b, err := hex.DecodeString(e.Nonce); same && err == nil && len(b) == len(n) && !e.Expired(time.Now()) {
			n, found = pcp.Nonce(b), true
		}
		old.Close()
	}
	if !found {
		_, err = io.ReadFull(m.cfg.Rand, n[:])
	}
	return n, err
}

// errElsewhere: the entry's router is not the one of this network.
var errElsewhere = errors.New("upnp: made on another network")

// remove takes a journalled mapping from its router.
func (m *Mapper) remove(ctx context.Context, e *journal.Entry) error {
	g, err := m.gateway(e.Internal.Addr())
	if err != nil || g.Addr != e.Gateway {
		return errElsewhere
	}
	q := question{internal: e.Internal}
	if e.Asked {
		q.patience = dropTime // it was not heard to answer
	}
	if err := q.protocol.UnmarshalText([]byte(e.Protocol)); err != nil {
		return err
	}
	if m.keeping(q, e) {
		return ErrNotOurs // the same mapping is kept right now
	}
	switch e.Via {
	case ViaPCP.String():
		nonce, err := hex.DecodeString(e.Nonce)
		if err != nil || len(nonce) != len(q.nonce) {
			return fmt.Errorf("%w: bad nonce in the journal", ErrNotOurs)
		}
		q.nonce = pcp.Nonce(nonce)
		// An entry that was never completed does not know what was spoken.
		_, err = m.ask(ctx, g, q, nil)
		return err
	case ViaNATPMP.String():
		q.via = ViaNATPMP
		_, err := m.ask(ctx, g, q, nil)
		return err
	}
	d, err := m.findDevice(ctx, g)
	if err != nil {
		return err
	}
	if e.Pinhole != "" && d.Firewall != nil {
		return d.Firewall.DeletePinhole(ctx, e.Pinhole)
	}
	if d.wan == nil {
		return errElsewhere
	}
	err = deleteEntry(ctx, d.wan, e.Protocol, e.External, e.Internal, e.Description)
	if errors.As(err, new(*igd.Fault)) {
		return fmt.Errorf("%w: the router does not tell whose it is: %w", ErrNotOurs, err)
	}
	return err
}

// keeping reports whether a Keep of this Mapper is about the same mapping. By
// PCP and NAT-PMP an internal port has one; by UPnP each external port is one,
// and the Keep takes it over.
func (m *Mapper) keeping(q question, e *journal.Entry) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k := range m.keeps {
		r := &k.request
		if r.Protocol == q.protocol && r.Internal.Port() == q.internal.Port() && (e.Via != ViaUPnP.String() || r.External == e.External) {
			return true
		}
	}
	return false
}
