package teredo

import (
	"context"
	"net/netip"
)

// startMap has the configuration's Map look for a port forward to the service
// port, in place of an earlier search: the host may be on another network now.
func (r *running) startMap(ctx context.Context) {
	if r.c.cfg.Map == nil {
		return
	}
	if r.stopMap != nil {
		r.stopMap()
	}
	ctx, r.stopMap = context.WithCancel(ctx)
	local := r.local
	r.helpers.Go(func() {
		err := r.c.cfg.Map(ctx, local, func(external netip.AddrPort) {
			select {
			case r.mapped <- mapping{ctx, external}:
			case <-ctx.Done():
			}
		})
		if err != nil && ctx.Err() == nil {
			r.c.log.Info("no port forward", "err", err)
		}
	})
}

// mapping is news of a port forward, from the search that ctx belongs to.
type mapping struct {
	ctx      context.Context
	external netip.AddrPort
}
