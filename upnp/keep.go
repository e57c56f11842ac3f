package upnp

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"shipworm/upnp/pcp"
)

// keeper is one running Keep. Its goroutine owns everything in it but pokes.
type keeper struct {
	m       *Mapper
	request Request
	changed func(Mapping)
	pokes   chan struct{} // one waits at most
	lease   lease
	gateway Gateway
	nonce   pcp.Nonce
	agent   agent   // of the mapping, nil without
	mapping Mapping // as the caller knows it
	late    sync.WaitGroup
	ears    func() // ends the listeners
}

// linkEvery is how often the host's own tables are looked at, for another
// router or another address.
const linkEvery = 4 * time.Second

// Keep keeps a port of this host mapped until ctx ends. It calls changed, from
// one goroutine, with each new mapping, and with the zero Mapping when there is
// none any more. Renewals that change nothing are not told. Before Keep
// returns, which takes at most two seconds, the mapping is removed.
//
// Failures are no end: Keep tries again. The error is nil when ctx has ended,
// and otherwise ErrPublicNetwork, ErrNotBound or what is wrong with the
// request, all of them at once and before anything is sent.
func (m *Mapper) Keep(ctx context.Context, r Request, changed func(Mapping)) error {
	if err := r.check(); err != nil {
		return err
	}
	if m.cfg.Network == Public {
		return ErrPublicNetwork
	}
	if !m.cfg.Host.Bound(r.Protocol, r.Internal) {
		return ErrNotBound
	}
	if r.External == 0 {
		r.External = r.Internal.Port()
	}
	if r.Lifetime == 0 {
		r.Lifetime = m.cfg.Lease
	}
	k := &keeper{m: m, request: r, changed: changed, pokes: make(chan struct{}, 1), ears: func() {}}
	var err error
	if k.nonce, err = m.nonce(&r); err != nil {
		return err
	}
	m.mu.Lock()
	m.keeps[k] = struct{}{}
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.keeps, k)
		m.mu.Unlock()
	}()
	defer k.late.Wait()
	defer func() { k.ears() }()
	last, stop := outlive(ctx, endTime)
	defer stop()
	defer k.release(last)
	k.sweep(ctx)
	k.run(ctx)
	return nil
}

// endTime is how long after the end of its ctx Keep still asks for the removal
// of its mapping. The wait for the last answer comes on top.
const endTime = 1500 * time.Millisecond

// sweep removes what is left of earlier runs, and of mappings that this one has
// lost and has got again.
func (k *keeper) sweep(ctx context.Context) {
	k.late.Go(func() {
		if n, err := k.m.Sweep(ctx); n > 0 || err != nil {
			k.m.cfg.Logger.Info("mappings of an earlier run", "removed", n, "err", err)
		}
	})
}

func (k *keeper) run(ctx context.Context) {
	link := time.NewTicker(linkEvery)
	defer link.Stop()
	for ctx.Err() == nil {
		what, when := k.lease.next()
		if now := time.Now(); !when.After(now) {
			k.lease.begin(now)
			k.act(ctx, what)
			continue
		}
		due := time.NewTimer(time.Until(when))
		select {
		case <-ctx.Done():
		case <-due.C:
		case <-k.pokes:
			k.lease.hear(time.Now(), k.m.moment())
		case <-link.C:
			k.look(ctx)
		}
		due.Stop()
	}
}

// look notices another router or another address of ours.
func (k *keeper) look(ctx context.Context) {
	g, err := k.m.cfg.Host.Gateway(k.request.Internal.Addr())
	switch {
	case err == nil && g == k.gateway, err != nil && !k.gateway.Addr.IsValid():
		return
	case err != nil: // between two networks: the mapping may yet be good
		return
	}
	k.m.cfg.Logger.Info("the network has changed", "gateway", g.Addr, "address", g.Local.Addr())
	if k.agent != nil {
		k.agent.abandon() // its router is not ours any more
		k.agent = nil
	}
	k.lease = lease{retry: time.Now()} // nothing was lost here that could come back
	k.tell(Mapping{})
}

func (k *keeper) act(ctx context.Context, what action) {
	var m Mapping
	var err error
	renewed := true
	within, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	switch {
	case k.agent != nil && (what == check || what == verify):
		m, renewed, err = k.agent.check(within, what == verify)
	case k.agent != nil && what == renew:
		m, err = k.agent.obtain(within, k.suggest(), nil)
	default:
		m, err = k.acquire(ctx)
	}
	now := time.Now()
	switch {
	case ctx.Err() != nil && err != nil:
	case err == nil:
		if renewed {
			k.lease.granted(now, m.Lifetime)
		} else {
			k.lease.checked(now)
		}
		k.tell(m)
	default:
		k.m.cfg.Logger.Debug("port mapping", "err", err)
		if k.agent != nil && errors.Is(err, ErrNotOurs) {
			k.lease.gone(now) // it has become another's
		} else if !k.lease.failed(now) {
			return
		}
		if k.agent != nil {
			k.agent.abandon()
			k.agent = nil
		}
		k.tell(Mapping{})
	}
}

// acquire asks by all protocols, and gives up what another one held.
func (k *keeper) acquire(ctx context.Context) (Mapping, error) {
	g, err := k.m.gateway(k.request.Internal.Addr())
	if err != nil {
		return Mapping{}, err
	}
	if g != k.gateway {
		k.ears()
		k.gateway, k.ears = g, k.m.listen(ctx, g, k)
	}
	w := k.m.want(g, k.request, k.nonce)
	a, m, err := w.attempt(ctx, k.suggest(), &k.late, func() { k.m.poke(k) })
	if err != nil {
		return Mapping{}, err
	}
	if k.agent != nil {
		k.agent.abandon()
	}
	k.agent = a
	if !k.lease.lost.IsZero() {
		k.sweep(ctx)
	}
	return m, nil
}

// suggest is the external endpoint that there was, or the one that is wished.
func (k *keeper) suggest() netip.AddrPort {
	if k.mapping.IsValid() {
		return k.mapping.External
	}
	return netip.AddrPortFrom(netip.Addr{}, k.request.External)
}

// want is a request of an address of this host.
func (m *Mapper) want(g Gateway, r Request, nonce pcp.Nonce) *want {
	return &want{
		m: m, gateway: g, protocol: r.Protocol, lifetime: r.Lifetime, nonce: nonce,
		internal: netip.AddrPortFrom(g.Local.Addr(), r.Internal.Port()),
	}
}

// tell calls changed if there is a difference.
func (k *keeper) tell(m Mapping) {
	was := k.mapping
	was.Lifetime = m.Lifetime
	k.mapping = m
	if was == m || !was.IsValid() && !m.IsValid() {
		return
	}
	if m.IsValid() {
		k.m.cfg.Logger.Info("port mapped", "external", m.External, "internal", m.Internal, "via", m.Via, "double_nat", m.DoubleNAT)
	} else {
		k.m.cfg.Logger.Info("port mapping lost", "was", was.External)
	}
	k.changed(m)
}

// release removes the mapping.
func (k *keeper) release(ctx context.Context) {
	if k.agent == nil {
		return
	}
	err := k.agent.drop(ctx)
	if errors.Is(err, context.Canceled) || isTimeout(err) {
		err = ErrSilent // for as long as there was
	}
	if err != nil {
		k.m.cfg.Logger.Warn("port mapping not removed", "mapping", k.mapping.External, "err", err)
	}
}
