package upnp

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"shipworm/upnp/journal"
	"shipworm/upnp/natpmp"
	"shipworm/upnp/pcp"
)

// Mapper opens ports of this host. Its methods are safe for concurrent use. It
// owns no goroutine and no socket between calls, so there is nothing to close.
type Mapper struct {
	cfg     Config
	journal *journal.Journal // nil without one

	turn   chan struct{} // held by the one dialogue with a gateway
	finder chan struct{} // held by the one search for devices

	refused atomic.Uint64 // answers that were not followed
	dropped atomic.Uint64 // announcements while one was waiting

	mu     sync.Mutex // guards what follows
	found  foundDevice
	clocks map[netip.Addr]*clock // of gateways, at most maxClocks
	keeps  map[*keeper]struct{}
}

// foundDevice is the device of the last search.
type foundDevice struct {
	gateway Gateway
	device  *device
	at      time.Time
}

// clock watches a gateway's epochs.
type clock struct {
	pcp    pcp.Epoch
	natpmp natpmp.Epoch
	reset  time.Time // the last that others were told of
}

const (
	maxClocks = 16
	// deviceLife is how long a found device is used again without a search.
	deviceLife = 10 * time.Minute
)

// New returns a Mapper. It sends nothing. The error names every problem of the
// configuration, or that the journal cannot be opened.
func New(cfg Config) (*Mapper, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	m := &Mapper{
		cfg: cfg, turn: make(chan struct{}, 1), finder: make(chan struct{}, 1),
		clocks: map[netip.Addr]*clock{}, keeps: map[*keeper]struct{}{},
	}
	if cfg.Journal != "" {
		if m.journal, err = journal.Open(cfg.Journal); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Counters count what was ignored.
type Counters struct {
	Refused uint64 // search answers that were malformed or pointed elsewhere
	Dropped uint64 // announcements that came while one was being looked into
}

// Counters returns the counts since New.
func (m *Mapper) Counters() Counters {
	return Counters{Refused: m.refused.Load(), Dropped: m.dropped.Load()}
}

// gateway is what every call begins with: the profile and the router.
func (m *Mapper) gateway(local netip.Addr) (Gateway, error) {
	if m.cfg.Network == Public {
		return Gateway{}, ErrPublicNetwork
	}
	return m.cfg.Host.Gateway(local)
}

// observe watches the gateway's clock, and reports a restart. Every mapping
// there is looked after then.
func (m *Mapper) observe(g Gateway, a answer) (reset bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.clocks[g.Addr]
	if c == nil {
		if len(m.clocks) >= maxClocks {
			clear(m.clocks)
		}
		c = &clock{}
		m.clocks[g.Addr] = c
	}
	if a.via == ViaPCP {
		reset = c.pcp.Observe(time.Now(), a.epoch)
	} else {
		reset = c.natpmp.Observe(time.Now(), a.epoch)
	}
	// A clock that stands still resets with every answer.
	if now := time.Now(); reset && now.Sub(c.reset) >= checkEvery {
		c.reset = now
		m.cfg.Logger.Info("the router has restarted", "gateway", g.Addr)
		for k := range m.keeps {
			m.poke(k)
		}
	}
	return reset
}

// poke has a keeper look after its mapping soon.
func (m *Mapper) poke(k *keeper) {
	select {
	case k.pokes <- struct{}{}:
	default:
		m.dropped.Add(1)
	}
}

// findDevice returns the device of the last search, or searches.
func (m *Mapper) findDevice(ctx context.Context, g Gateway) (*device, error) {
	select {
	case m.finder <- struct{}{}:
		defer func() { <-m.finder }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	m.mu.Lock()
	f := m.found
	m.mu.Unlock()
	if f.device != nil && f.gateway == g && time.Since(f.at) < deviceLife {
		return f.device, nil
	}
	d, err := m.find(ctx, g)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	m.found = foundDevice{g, d, time.Now()}
	m.mu.Unlock()
	return d, nil
}

// forgetDevice has the next findDevice search again.
func (m *Mapper) forgetDevice(d *device) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.found.device == d {
		m.found = foundDevice{}
	}
}
