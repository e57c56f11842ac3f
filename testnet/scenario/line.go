package scenario

import (
	"math"

	"shipworm/testnet/link"
)

// line reads the knobs of a line and returns what sets them, and only them.
func (p *parser) line(t *table) func(*link.Config) {
	s := p.section(t)
	var set []func(*link.Config)
	do := func(ok bool, f func(*link.Config)) {
		if ok {
			set = append(set, f)
		}
	}
	delay, ok := s.duration("delay")
	do(ok, func(c *link.Config) { c.Delay = delay })
	jitter, ok := s.duration("jitter")
	do(ok, func(c *link.Config) { c.Jitter = jitter })
	loss, ok := s.share("loss")
	do(ok, func(c *link.Config) { c.Loss = loss })
	burst, ok := s.number("burst")
	do(ok, func(c *link.Config) { c.Burst = burst })
	reorder, ok := s.share("reorder")
	do(ok, func(c *link.Config) { c.Reorder = reorder })
	hold, ok := s.duration("hold")
	do(ok, func(c *link.Config) { c.Hold = hold })
	duplicate, ok := s.share("duplicate")
	do(ok, func(c *link.Config) { c.Duplicate = duplicate })
	corrupt, ok := s.share("corrupt")
	do(ok, func(c *link.Config) { c.Corrupt = corrupt })
	rate, ok := s.integer("rate", 0, math.MaxInt64/16)
	do(ok, func(c *link.Config) { c.Rate = rate })
	queue, ok := s.integer("queue", 0, 1<<30)
	do(ok, func(c *link.Config) { c.Queue = int(queue) })
	codel := s.boolean("codel")
	do(s.find("codel") != nil, func(c *link.Config) { c.CoDel = codel })
	target, ok := s.duration("target")
	do(ok, func(c *link.Config) { c.Target = target })
	interval, ok := s.duration("interval")
	do(ok, func(c *link.Config) { c.Interval = interval })
	mtu, ok := s.integer("mtu", 68, 65535) // RFC 791: every link carries 68
	do(ok, func(c *link.Config) { c.MTU = int(mtu) })
	s.finish()
	return func(c *link.Config) {
		for _, f := range set {
			f(c)
		}
	}
}
