package ra

import (
	"math"
	"sync"
	"time"

	"shipworm/ra/rfb"
)

// Input that a gate lets through: 1,000 events a second, and as many at
// once as a burst of a fast pointer brings.
const (
	inputRate  = 1000
	inputBurst = 200
)

// inputGate stands before the injector. While it is shut nothing is injected,
// and when shut returns nothing is being injected any more: the injector is
// called under the gate's lock. It waits for nobody else's lock, so that Esc
// works whatever the rest of the program does.
type inputGate struct {
	inj Injector

	mu      sync.Mutex
	open    bool
	epoch   uint32
	dead    uint32 // no epoch up to this one opens the gate again
	tokens  float64
	refill  time.Time
	dropped uint64 // events that came through no open gate, or too fast
	refused uint64 // events that the injector refused
}

func newInputGate(inj Injector) *inputGate { return &inputGate{inj: inj, tokens: inputBurst} }

// set follows the session's machine.
func (g *inputGate) set(epoch uint32, open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	open = open && epoch > g.dead
	if g.open && (!open || epoch != g.epoch) {
		g.release()
	}
	g.open, g.epoch = open, epoch
}

// slam shuts the gate for the present epoch, for good. It reports whether the
// gate was open.
func (g *inputGate) slam() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	was := g.open
	g.open, g.dead = false, g.epoch
	if was {
		g.release()
	}
	return was
}

// disable shuts the gate for the rest of the session.
func (g *inputGate) disable() {
	g.slam()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dead = math.MaxUint32
}

// release lets go of what is held down: a key that was pressed under an epoch
// must not stay down after it. The caller holds g.mu.
func (g *inputGate) release() {
	if err := g.inj.ReleaseAll(); err != nil {
		g.refused++
	}
}

// inject performs an event made under epoch, if the gate is open for it.
func (g *inputGate) inject(now time.Time, epoch uint32, in rfb.Input) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.open || epoch != g.epoch || !g.take(now) {
		g.dropped++
		return
	}
	if err := g.inj.Inject(in); err != nil {
		g.refused++
	}
}

func (g *inputGate) take(now time.Time) bool {
	g.tokens = min(inputBurst, g.tokens+now.Sub(g.refill).Seconds()*inputRate)
	g.refill = now
	if g.tokens < 1 {
		return false
	}
	g.tokens--
	return true
}

// counts returns how many events were dropped and refused.
func (g *inputGate) counts() (dropped, refused uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.dropped, g.refused
}
