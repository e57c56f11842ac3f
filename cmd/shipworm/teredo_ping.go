package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"shipworm/teredo"
	"shipworm/teredo/stack"
	"shipworm/teredo/wire"
)

func newTeredoPingCmd(system systemFile) *cobra.Command {
	var (
		flags    = teredoFlags{system: system}
		p        pinger
		interval float64
		wait     float64
	)
	c := &cobra.Command{
		Use:   "ping ADDR",
		Short: "Ping a Teredo address from one of our own",
		Long: `Take a Teredo address for the while, send ICMPv6 echo requests from it to ADDR
and print the answers, as ping(8) does. The first answer includes the time it
takes to open the NATs on both sides. Exit code 3 if there was no answer at all.

An address outside 2001::/32 is reached only if the Teredo server passes echo
requests on to the native IPv6 Internet and a Teredo relay is near the node.`,
		Example: "  shipworm teredo ping -c 3 --server 203.0.113.1 2001:0:cb00:7101:0:63be:39cc:9bf8",
		Args:    exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if p.to, err = netip.ParseAddr(args[0]); err != nil || !p.to.Is6() || p.to.Is4In6() || p.to.Zone() != "" {
				return usageError(fmt.Errorf("teredo ping: %q is not an IPv6 address", args[0]))
			}
			if p.to.IsMulticast() || p.to.IsUnspecified() {
				return usageError(fmt.Errorf("teredo ping: %v is not the address of one host", p.to))
			}
			if err := p.check(interval, wait); err != nil {
				return usageError(fmt.Errorf("teredo ping: %w", err))
			}
			cfg, err := flags.config()
			if err != nil {
				return err
			}
			p.out = c.OutOrStdout()
			ctx, stop := system.guard(c.Context())
			defer stop()
			return withTeredo(ctx, cfg, func(client *teredo.Client) error {
				own, err := waitQualified(ctx, client, cfg.Server)
				if err != nil {
					return err
				}
				return p.run(ctx, client, own)
			})
		},
	}
	flags.add(c)
	c.Flags().IntVarP(&p.count, "count", "c", 0, "stop after so many (default: when interrupted)")
	c.Flags().Float64VarP(&interval, "interval", "i", 1, "seconds between two, at least 0.01")
	c.Flags().IntVarP(&p.size, "size", "s", 56, fmt.Sprintf("data bytes, 0 to %d", stack.MaxPing))
	c.Flags().Float64VarP(&wait, "wait", "W", 10, "seconds to wait for each answer")
	c.Flags().BoolVar(&p.json, "json", false, "print JSON at the end")
	return c
}

// pinger is one run of teredo ping.
type pinger struct {
	to             netip.Addr
	count, size    int
	interval, wait time.Duration
	json           bool
	out            io.Writer

	mu    sync.Mutex
	sent  int
	rtts  []time.Duration
	first error // why the first failed one did
	bad   error // why the output could not be written
	start time.Time
}

func (p *pinger) check(interval, wait float64) error {
	switch {
	case p.count < 0:
		return fmt.Errorf("-c %d: want 1 or more", p.count)
	case !(interval >= 0.01 && interval <= 3600):
		return fmt.Errorf("-i %v: want 0.01 to 3600 seconds", interval)
	case !(wait > 0 && wait <= 3600):
		return fmt.Errorf("-W %v: want up to 3600 seconds", wait)
	case p.size < 0 || p.size > stack.MaxPing:
		return fmt.Errorf("-s %d: want 0 to %d bytes", p.size, stack.MaxPing)
	}
	p.interval = time.Duration(interval * float64(time.Second))
	p.wait = time.Duration(wait * float64(time.Second))
	return nil
}

// run sends on the beat, whether or not answers are outstanding, and returns
// once each was answered or given up.
func (p *pinger) run(ctx context.Context, c *teredo.Client, own teredo.Address) error {
	p.print("PING %v from %v: %d data bytes\n", p.to, own, p.size)
	p.start = time.Now()
	beat := time.NewTicker(p.interval)
	defer beat.Stop()
	var flights sync.WaitGroup
	for ctx.Err() == nil {
		p.sent++
		seq := p.sent
		flights.Go(func() { p.one(ctx, c, seq) })
		if p.sent == p.count {
			break
		}
		select {
		case <-beat.C:
		case <-ctx.Done():
		}
	}
	flights.Wait()
	if err := p.report(own); err != nil {
		return err
	}
	if len(p.rtts) > 0 {
		return nil
	}
	return p.unanswered(ctx, c)
}

func (p *pinger) one(ctx context.Context, c *teredo.Client, seq int) {
	ctx, cancel := context.WithTimeout(ctx, p.wait)
	defer cancel()
	rtt, err := c.Ping(ctx, p.to, p.size)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil:
		p.rtts = append(p.rtts, rtt)
		p.print("%d bytes from %v: icmp_seq=%d time=%s\n", p.size+8, p.to, seq, milliseconds(rtt))
	case p.first == nil:
		p.first = err
	}
}

// print prints text for people; the first failure to do so is kept.
func (p *pinger) print(format string, args ...any) {
	if p.json || p.bad != nil {
		return
	}
	_, p.bad = fmt.Fprintf(p.out, format, args...)
}

// unanswered says what is known about the silence.
func (p *pinger) unanswered(ctx context.Context, c *teredo.Client) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err := fmt.Errorf("teredo ping: no answer from %v", p.to)
	if p.first != nil && !errors.Is(p.first, context.DeadlineExceeded) {
		err = fmt.Errorf("teredo ping: %v: %w", p.to, p.first)
	}
	err = negativeError(err)
	peer, ok := c.Peer(p.to)
	if !ok {
		return withHint(err, "nothing is sent to such an address; for a Teredo address `shipworm teredo decode` says why")
	}
	if !peer.Up && !wire.Prefix().Contains(p.to) {
		return withHint(err, "a host without Teredo is reached only if our server passes tests on (teredo server --native) and a relay is near that host")
	}
	if !peer.Up {
		hint := "no path could be opened to it; it may be offline, or both NATs too strict"
		if d := time.Until(peer.RetryAt); d > 0 {
			hint += fmt.Sprintf("; the next attempt makes sense in %v", d.Round(time.Second))
		}
		return withHint(err, hint)
	}
	return withHint(err, "the path is open, but the host there does not answer pings")
}

// pingReport is what `teredo ping --json` prints, schema 1.
type pingReport struct {
	Schema   int            `json:"schema"`
	From     teredo.Address `json:"from"`
	To       netip.Addr     `json:"to"`
	Sent     int            `json:"sent"`
	Received int            `json:"received"`
	RTTMS    []float64      `json:"rtt_ms"` // in the order of the answers
}

func (p *pinger) report(own teredo.Address) error {
	took := time.Since(p.start)
	if p.json {
		r := pingReport{Schema: 1, From: own, To: p.to, Sent: p.sent, Received: len(p.rtts), RTTMS: []float64{}}
		for _, d := range p.rtts {
			r.RTTMS = append(r.RTTMS, float64(d.Microseconds())/1000)
		}
		return printJSON(p.out, r)
	}
	lost := 100 * float64(p.sent-len(p.rtts)) / float64(max(p.sent, 1))
	p.print("\n--- %v ping statistics ---\n%d packets transmitted, %d received, %.3g%% packet loss, time %d ms\n",
		p.to, p.sent, len(p.rtts), lost, took.Milliseconds())
	if len(p.rtts) > 0 {
		low, mean, high, dev := spread(p.rtts)
		p.print("rtt min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms\n", low, mean, high, dev)
	}
	return p.bad
}

// spread returns the figures of ping's last line, in milliseconds.
func spread(rtts []time.Duration) (low, mean, high, dev float64) {
	low = math.Inf(1)
	var sum, squares float64
	for _, d := range rtts {
		ms := float64(d) / float64(time.Millisecond)
		low, high = min(low, ms), max(high, ms)
		sum += ms
		squares += ms * ms
	}
	n := float64(len(rtts))
	mean = sum / n
	return low, mean, high, math.Sqrt(max(0, squares/n-mean*mean))
}
