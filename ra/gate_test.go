package ra

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"shipworm/ra/rfb"
)

var keyA = rfb.Input{Kind: rfb.KeyInput, Down: true, Keysym: 'a'}

// only an event of the present epoch passes, and only while the gate is open.
func TestInputGate(t *testing.T) {
	inj := &recorder{}
	g := newInputGate(inj)
	now := time.Unix(0, 0)
	try := func(epoch uint32, want bool) {
		t.Helper()
		before, _ := inj.seen()
		g.inject(now, epoch, keyA)
		after, _ := inj.seen()
		if got := len(after) > len(before); got != want {
			t.Errorf("epoch %d passed: %v, want %v", epoch, got, want)
		}
	}
	try(0, false)
	try(1, false)
	g.set(1, true)
	try(0, false)
	try(1, true)
	try(2, false)
	g.set(2, true)
	try(1, false)
	try(2, true)
	g.set(2, false)
	try(2, false)
	g.set(2, true)
	try(2, true)
	g.slam()
	try(2, false)
	g.set(2, true) // the machine has not heard of Esc yet
	try(2, false)
	g.set(3, true)
	try(3, true)
	g.disable()
	g.set(4, true)
	try(4, false)
	if _, released := inj.seen(); released != 4 { // new epoch, shut, slam, disable
		t.Errorf("released %d times", released)
	}
}

// at most 1,000 events a second, after a burst.
func TestInputRate(t *testing.T) {
	inj := &recorder{}
	g := newInputGate(inj)
	g.set(1, true)
	now := time.Unix(0, 0)
	for i := range 100_000 { // ten seconds at ten times the rate
		g.inject(now.Add(time.Duration(i)*100*time.Microsecond), 1, keyA)
	}
	if ev, _ := inj.seen(); len(ev) > 10*inputRate+inputBurst || len(ev) < 10*inputRate-1 {
		t.Errorf("%d events in 10 s", len(ev))
	}
	if dropped, _ := g.counts(); dropped == 0 {
		t.Error("nothing was counted as dropped")
	}
}

// flooded is an Injector that says when it has seen enough, and remembers what
// came after Esc.
type flooded struct {
	want   int
	enough chan struct{} // closed after want events

	mu    sync.Mutex
	n     int
	after bool // Esc has returned
	late  int
}

func (f *flooded) Inject(rfb.Input) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n++; f.n == f.want {
		close(f.enough)
	}
	if f.after {
		f.late++
	}
	return nil
}

func (f *flooded) ReleaseAll() error { return nil }

// 1,000 presses of Esc at random points of a flood: not one event is
// injected after Esc, whatever the machine does meanwhile.
func TestEscInAFlood(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 1000 {
		inj := &flooded{want: 1 + rng.IntN(150), enough: make(chan struct{})}
		g := newInputGate(inj)
		g.set(1, true)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for now := time.Unix(0, 0); ; now = now.Add(time.Millisecond) {
				select {
				case <-stop:
					return
				default:
					g.inject(now, 1, keyA)
					runtime.Gosched() // where there is one processor only
				}
			}
		})
		wg.Go(func() { // the machine follows late, with what it last knew
			<-inj.enough
			for range 10 {
				g.set(1, true)
				runtime.Gosched()
			}
		})
		<-inj.enough
		g.slam()
		inj.mu.Lock()
		inj.after = true
		inj.mu.Unlock()
		for range 3 {
			g.inject(time.Unix(1e6, 0), 1, keyA)
		}
		close(stop)
		wg.Wait()
		if inj.late > 0 {
			t.Fatalf("try %d: %d events after Esc", i, inj.late)
		}
	}
}
