package scenario

import (
	"fmt"
	"net/netip"
	"time"

	"shipworm/testnet/adversary"
	"shipworm/testnet/sim"
)

// attack is an adversary at work.
type attack struct {
	stop  func()
	stats func() adversary.Stats
}

// unleash has an adversary begin and end at its times.
func (r *run) unleash(a *Adversary) {
	begin := func() {
		r.tell("%s %s begins", a.Kind, a.Name)
		r.strike(a, func(w *sim.World, on adversary.Line) (err error) {
			r.attacks[a], err = a.attach(w, on, seedOf(r.seed, a.Name))
			return err
		})
	}
	if a.At == 0 {
		begin() // before any program
	} else {
		r.later(a.At, begin)
	}
	if a.Until > 0 {
		r.later(a.Until, func() {
			r.tell("%s %s ends", a.Kind, a.Name)
			r.strike(a, func(*sim.World, adversary.Line) error {
				r.attacks[a].stop()
				return nil
			})
		})
	}
}

// later has something happen that the run waits for.
func (r *run) later(d time.Duration, f func()) {
	r.left++
	r.stage.at(d, func() {
		r.left--
		f()
		r.settle()
	})
}

func (r *run) strike(a *Adversary, f func(*sim.World, adversary.Line) error) {
	if err := r.stage.tap(a.Node, f); err != nil && r.err == nil {
		r.err = fmt.Errorf("line %d: %s %s: %w", a.at.line, a.Kind, a.Name, err)
	}
}

// attach puts the adversary to work, on its line or on its host: hosts are the
// lines of those who have one.
func (a *Adversary) attach(w *sim.World, on adversary.Line, seed uint64) (attack, error) {
	payload := make([]byte, a.Size)
	host, _ := on.(*sim.Host)
	switch a.Kind {
	case Flooder, Spoofer:
		f := &adversary.Flooder{Rate: a.Rate, To: netip.AddrPortFrom(a.To.Addrs[0], a.Port), Payload: func(int, netip.AddrPort) []byte { return payload }}
		switch {
		case a.As != nil:
			name := netip.AddrPortFrom(a.As.Addrs[0], a.AsPort)
			f.From = func(int) netip.AddrPort { return name }
		case a.Sources.IsValid():
			f.From = adversary.Sources(seed, a.Sources)
		}
		f.Attach(w, host)
		return attack{f.Stop, f.Stats}, nil
	case SlowLoris:
		d := &adversary.Dripper{Conversations: a.Open, Every: a.Every, To: netip.AddrPortFrom(a.To.Addrs[0], a.Port),
			Payload: func(int, int, netip.AddrPort) []byte { return payload }}
		return attack{d.Stop, d.Stats}, d.Attach(w, host)
	case Replayer:
		r := &adversary.Replayer{Name: a.Name, After: a.Delay, Keep: a.Keep}
		r.Attach(w, on)
		return attack{r.Detach, r.Stats}, nil
	case ICMPLiar:
		l := &adversary.ICMPLiar{Name: a.Name}
		l.Attach(on)
		return attack{l.Detach, l.Stats}, nil
	}
	b := &adversary.BlackHole{Name: a.Name, Direction: a.Direction}
	if a.Remote != nil {
		for _, x := range a.Remote.Addrs {
			b.Remote = append(b.Remote, netip.PrefixFrom(x, x.BitLen()))
		}
	}
	b.Attach(on)
	return attack{b.Detach, b.Stats}, nil
}

// An AdversaryResult is what an adversary did.
type AdversaryResult struct {
	Name      string        `json:"name"`
	Node      string        `json:"node"` // its host, or the one whose line it sits on
	Kind      AdversaryKind `json:"kind"`
	Seen      uint64        `json:"seen"`      // packets that came by or to it
	Sent      uint64        `json:"sent"`      // packets it made
	Swallowed uint64        `json:"swallowed"` // packets it let nobody have
}

// deeds returns what the adversaries did.
func (r *run) deeds() []AdversaryResult {
	var out []AdversaryResult
	for _, a := range r.s.Adversaries {
		x := AdversaryResult{Name: a.Name, Node: a.Node.Name, Kind: a.Kind}
		if did, ok := r.attacks[a]; ok {
			r.strike(a, func(*sim.World, adversary.Line) error {
				s := did.stats()
				x.Seen, x.Sent, x.Swallowed = s.Seen, s.Sent, s.Swallowed
				return nil
			})
		}
		out = append(out, x)
	}
	return out
}
