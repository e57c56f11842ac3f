package channel

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
)

// raceDelay is the head start of each target over the next: the Connection
// Attempt Delay of RFC 8305, 5.
const raceDelay = 250 * time.Millisecond

// A Target is one address to race for, with a packet conn of its own.
type Target struct {
	PacketConn net.PacketConn
	Addr       netip.AddrPort
}

// Race dials the targets, in the order given, each 250 ms after the one before
// or as soon as that one failed, and authenticates on the first that answers:
// however many answer, one attempt is spent. It returns the index of the
// winner. No packet conn is in use any more when Race returns, except the
// winner's. Errors are those of [Dial], joined; after [ErrPassword] no other
// target is tried.
func Race(ctx context.Context, targets []Target, cfg DialConfig) (*Conn, int, error) {
	if len(targets) == 0 {
		return nil, 0, errors.New("channel: no address to dial")
	}
	ctx, cancel := cfg.context(ctx)
	defer cancel()
	type result struct {
		index   int
		pending *pending
		err     error
	}
	results := make(chan result, len(targets))
	dialCtx, stop := context.WithCancel(ctx)
	started, finished := 0, 0
	start := func() {
		if started == len(targets) {
			return
		}
		i := started
		started++
		go func() {
			p, err := connect(dialCtx, targets[i].PacketConn, targets[i].Addr, cfg)
			results <- result{i, p, err}
		}()
	}
	defer func() { // the losers
		stop()
		for ; finished < started; finished++ {
			if r := <-results; r.pending != nil {
				r.pending.abandon()
			}
		}
	}()
	start()
	var errs []error
	next := time.NewTicker(raceDelay)
	defer next.Stop()
	for finished < started {
		select {
		case <-next.C:
			start()
		case r := <-results:
			finished++
			err := r.err
			if err == nil {
				var c *Conn
				if c, err = r.pending.authenticate(ctx); err == nil {
					return c, r.index, nil
				}
			}
			errs = append(errs, err)
			if errors.Is(err, ErrPassword) || errors.Is(ctx.Err(), context.Canceled) {
				return nil, 0, errors.Join(errs...)
			}
			start()
		}
	}
	return nil, 0, errors.Join(errs...)
}
