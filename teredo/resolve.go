package teredo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"shipworm/teredo/engine"
)

// resolve turns the configured names into a configured machine. Every address
// goes through the policy, which the machine checks: an answer that points
// inside, by mistake or malice, is refused (requirement T-32). A server in use
// that the name still leads to, perhaps among others, is no news: resolve then
// returns nil, or each turn of a round robin would start the client anew.
func (c *Client) resolve(ctx context.Context, policy Policy, refresh time.Duration, server ServerName, inUse netip.Addr) (*engine.Client, error) {
	fail := func(err error) error {
		return &QualifyError{Server: server.Primary, Stage: StageResolve, Err: err}
	}
	primaries, err := c.lookup(ctx, server.Primary)
	if err != nil {
		return nil, fail(err)
	}
	if slices.ContainsFunc(primaries, func(a netip.Addr) bool { return a.Unmap() == inUse }) {
		return nil, nil
	}
	secondaries := []netip.Addr{{}}
	if server.Secondary != "" {
		if secondaries, err = c.lookup(ctx, server.Secondary); err != nil {
			return nil, fail(err)
		}
	}
	for _, p := range primaries {
		for _, s := range secondaries {
			m, err := engine.NewClient(engine.ClientConfig{
				Server: p, Secondary: s, Policy: policy,
				Refresh: refresh, StrictTimers: c.cfg.StrictTimers, Rand: c.cfg.Rand,
				Credential: c.cfg.Credential, LocalDiscovery: c.cfg.LocalDiscovery,
				FindRefresh: c.cfg.FindRefresh, ConeTest: c.cfg.ConeTest,
			})
			if err == nil {
				return m, nil
			}
			c.log.Debug("server refused", "primary", p, "secondary", s, "err", err)
		}
	}
	tried := fmt.Sprint(primaries)
	if server.Secondary != "" {
		tried += fmt.Sprint(" and ", secondaries)
	}
	return nil, fail(fmt.Errorf("%w: %s", ErrServerDenied, tried))
}

func (c *Client) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	addrs, err := c.cfg.Resolve(ctx, host)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	if len(addrs) == 0 {
		return nil, errors.New("the name has no IPv4 address")
	}
	return addrs, nil
}
