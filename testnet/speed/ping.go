//go:build linux

package main

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"time"

	"shipworm/teredo"
)

const (
	pingEvery = 2 * time.Millisecond
	pingSize  = 56 // bytes of data, as ping sends
)

var pingTime = regexp.MustCompile(`time=([0-9.]+) ms`)

// ping measures round trips one at a time: the middle, and the last but one
// per cent.
func (b *bench) ping(ctx context.Context, p path) error {
	var ms []float64
	if p.from.stack {
		a, err := p.from.load.order(order{Do: "ping", To: p.to.address, Count: b.cfg.pings})
		if err != nil {
			return err
		}
		ms = a.Times
	} else {
		out, err := p.from.ns.run(ctx, "ping", "-6", "-n", "-I", p.from.address, "-c", fmt.Sprint(b.cfg.pings),
			"-i", fmt.Sprint(pingEvery.Seconds()), "-s", fmt.Sprint(pingSize), "-W", "1", p.to.address)
		if err != nil {
			return err
		}
		for _, m := range pingTime.FindAllStringSubmatch(out, -1) {
			v, _ := strconv.ParseFloat(m[1], 64)
			ms = append(ms, v)
		}
	}
	if len(ms) == 0 {
		return fmt.Errorf("no answer to %d pings", b.cfg.pings)
	}
	slices.Sort(ms)
	b.add("ping-p50", p.name, 1000*ms[len(ms)/2])
	b.add("ping-p99", p.name, 1000*ms[len(ms)*99/100])
	return nil
}

// pings has the userspace stack ping.
func pings(ctx context.Context, c *teredo.Client, o order) (a answer, err error) {
	to, err := netip.ParseAddr(o.To)
	if err != nil {
		return a, err
	}
	for range o.Count {
		one, cancel := context.WithTimeout(ctx, time.Second)
		d, err := c.Ping(one, to, pingSize)
		cancel()
		if err != nil {
			continue // lost, as with ping
		}
		a.Times = append(a.Times, float64(d.Nanoseconds())/1e6)
		time.Sleep(pingEvery)
	}
	return a, nil
}
