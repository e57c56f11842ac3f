package teredo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"shipworm/teredo/engine"
)

// Settings are what can be changed of a Client that runs: the fields of its
// ClientConfig with the same names.
type Settings struct {
	Server  ServerName // the first one; Fallback stays
	Refresh time.Duration
	Force   bool
}

// check reports every problem of s.
func (s *Settings) check() error {
	errs := []error{s.Server.check()}
	if s.Refresh != 0 && (s.Refresh < 5*time.Second || s.Refresh > 45*time.Second) {
		errs = append(errs, fmt.Errorf("refresh interval %v: not within 5s to 45s", s.Refresh))
	}
	return errors.Join(errs...)
}

// Settings returns the present ones.
func (c *Client) Settings() Settings {
	s := Settings{ServerName{c.cfg.Server, c.cfg.Secondary}, c.cfg.Refresh, c.cfg.Force}
	c.ask(func(r *running) { s = r.set })
	return s
}

// Change gives a running Client other settings. With another server the address
// goes at once, and the one that the new server brings is another one; without,
// the address stays. A server that cannot be resolved is a *QualifyError, and
// nothing is changed then. The error is net.ErrClosed unless Run runs and has
// found its first server.
func (c *Client) Change(ctx context.Context, s Settings) error {
	if err := s.check(); err != nil {
		return fmt.Errorf("teredo: %w", err)
	}
	var policy Policy
	var old Settings
	if !c.ask(func(r *running) { policy, old = r.policy, r.set }) {
		return fmt.Errorf("teredo: %w", net.ErrClosed)
	}
	var machine *engine.Client
	if s.Server != old.Server {
		var err error
		if machine, err = c.resolve(ctx, policy, s.Refresh, s.Server, netip.Addr{}); err != nil {
			return err
		}
	}
	if !c.ask(func(r *running) { r.change(s, machine) }) {
		return fmt.Errorf("teredo: %w", net.ErrClosed)
	}
	return nil
}

// change takes settings, and the machine for their server if it is another one.
func (r *running) change(s Settings, machine *engine.Client) {
	now := time.Now()
	if s.Refresh != r.set.Refresh {
		_ = r.machine.SetRefresh(now, s.Refresh) // it was checked
	}
	r.gate.forced = s.Force
	r.set = s
	if machine == nil {
		return
	}
	r.changes++
	t := &r.servers
	t.list[0], t.inUse = s.Server, 0
	t.restart()
	if a := r.machine.Snapshot().Address; a.IsValid() {
		r.own.out.Events = append(r.own.out.Events, engine.Event{Kind: engine.AddressLost, Address: a})
	}
	r.c.set(func() { r.c.failure = nil })
	r.exchange(machine)
	machine.Start(now, &r.own.out)
}
