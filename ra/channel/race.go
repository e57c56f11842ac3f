package channel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// raceDelay is the head start of each target over the next: the Connection
// Attempt Delay of RFC 8305, 5.
const raceDelay = 250 * time.Millisecond

// A Target is one address to race for. ListenPacket opens a packet conn for it
// alone when its turn has come, and may take its time.
type Target struct {
	ListenPacket func(context.Context) (net.PacketConn, error)
	Addr         netip.AddrPort
}

// Race dials the targets, in the order given, each 250 ms after the one before
// or as soon as that one failed, and authenticates on the first that answers:
// however many answer, one attempt is spent. It returns the winner's packet
// conn too, which the caller closes after the connection; the others are closed.
// Errors are those of [Dial] and of ListenPacket, joined; after [ErrPassword] no
// other target is tried.
func Race(ctx context.Context, targets []Target, cfg DialConfig) (*Conn, net.PacketConn, error) {
	if len(targets) == 0 {
		return nil, nil, errors.New("channel: no address to dial")
	}
	ctx, cancel := cfg.context(ctx)
	defer cancel()
	type result struct {
		conn    net.PacketConn // closed if there is an error
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
		t := targets[started]
		started++
		go func() {
			pc, err := t.ListenPacket(dialCtx)
			if err != nil {
				results <- result{err: fmt.Errorf("%w from %v: %w", ErrUnreachable, t.Addr, err)}
				return
			}
			p, err := connect(dialCtx, pc, t.Addr, cfg)
			if err != nil {
				pc.Close()
			}
			results <- result{pc, p, err}
		}()
	}
	defer func() { // the losers
		stop()
		for ; finished < started; finished++ {
			if r := <-results; r.pending != nil {
				r.pending.abandon()
				r.conn.Close()
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
					return c, r.conn, nil
				}
				r.conn.Close()
			}
			errs = append(errs, err)
			if errors.Is(err, ErrPassword) || errors.Is(ctx.Err(), context.Canceled) {
				return nil, nil, errors.Join(errs...)
			}
			start()
		}
	}
	return nil, nil, errors.Join(errs...)
}
