//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// benchConfig is the command line of the measurement that replaces the play.
type benchConfig struct {
	on     bool
	rounds int
	json   bool
	idle   time.Duration
}

const (
	// benchKeys is the least number of keys over all rounds.
	benchKeys = 48
	// benchLimit bounds the whole measurement.
	benchLimit = 10 * time.Minute
)

func (b *benchConfig) register(f *flag.FlagSet) {
	f.BoolVar(&b.on, "bench", false, "measure the speed of a session instead of showing one")
	f.IntVar(&b.rounds, "rounds", 6, "with --bench: sessions to measure")
	f.BoolVar(&b.json, "json", false, "with --bench: print JSON")
	f.DurationVar(&b.idle, "idle", 30*time.Second, "with --bench: how long to watch an idle session, in each of its two states")
}

func (b *benchConfig) check() error {
	var errs []error
	if b.rounds < 1 || b.rounds > 1000 {
		errs = append(errs, fmt.Errorf("--rounds %d is not in 1 to 1000", b.rounds))
	}
	if b.idle < time.Second || b.idle > 2*time.Minute {
		errs = append(errs, fmt.Errorf("--idle %v is not in 1s to 2m", b.idle))
	}
	return errors.Join(errs...)
}

// A bench measures one session after the other on one stage. Every program in
// it is the real one; only the browser is replaced, by a page and a viewer
// written in Go, because a browser's own start and drawing would be measured.
type bench struct {
	*stage
	wire  *meter
	goals goals
	samples
}

// goals are the promises, made from the round trips of the stage.
type goals struct {
	server, peer time.Duration // round trips: home to server, home to home
}

func (g goals) qualified() float64 { return ms(g.server + 50*time.Millisecond) }
func (g goals) opened() float64    { return ms(6*g.peer + 300*time.Millisecond) }
func (g goals) key() float64       { return ms(2*g.peer + 50*time.Millisecond) }

const (
	goalIdle = 2000.0 // bit/s besides keep-alives
	goalCPU  = 1.0    // per cent of a core
)

func measure(ctx context.Context, c config) (err error) {
	s, err := buildStage(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.lab.Close()) }()
	b := &bench{stage: s, wire: newMeter(), goals: goals{server: 2 * c.delay, peer: 4 * c.delay}}
	s.lab.SetTrace(b.wire.event)
	for i := range c.bench.rounds {
		if err := b.qualify(ctx); err != nil {
			return fmt.Errorf("round %d: %w", i+1, err)
		}
		if err := b.round(ctx, i == c.bench.rounds-1); err != nil {
			return fmt.Errorf("round %d: %w", i+1, err)
		}
		fmt.Fprintf(os.Stderr, "round %d of %d done\n", i+1, c.bench.rounds)
	}
	r := b.report()
	if c.bench.json {
		return r.writeJSON(os.Stdout)
	}
	return r.writeText(os.Stdout)
}

// qualify measures a Teredo client alone, from the start of its process to the
// line that tells the address.
func (b *bench) qualify(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b.wire.arm()
	begun := time.Now()
	p, err := start(ctx, b.stage.helper, filepath.Join(b.cfg.out, "client.txt"), b.cfg.shipworm,
		"teredo", "client", "--server", serverAddr.String())
	if err != nil {
		return err
	}
	if _, err := p.expect(`^qualified: `, 10*time.Second); err != nil {
		return err
	}
	done := time.Now()
	first, err := b.wire.firstFrom("helper")
	if err != nil {
		return err
	}
	b.add(rowQualified, ms(done.Sub(begun)))
	b.add(rowQualifiedStart, ms(first.Sub(begun)))
	b.add(rowQualifiedServer, ms(done.Sub(first)))
	cancel()
	<-p.done
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
