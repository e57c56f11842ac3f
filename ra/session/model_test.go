package session

import (
	"errors"
	"flag"
	"testing"
	"time"

	"pgregory.net/rapid"

	"shipworm/ra/face"
)

// event is one input event on its way on the input stream, which is not
// ordered with the control stream.
type event struct {
	epoch uint32
	made  int // the step in which the Helper made it
}

// model drives two honest machines through random acts, deliveries and time,
// and keeps beside them what a person would say must hold.
type model struct {
	*pair
	step    int
	shut    int // the step in which the User's gate was last shut
	input   []event
	granted int // Yes answers given by the User
}

func (w *model) closeIfShut() {
	if _, open := w.m[User].Gate(); !open {
		w.shut = w.step
	}
}

// whatever two honest sides do, and however their messages cross,
// neither breaches the protocol; no input made before the User last shut the
// gate is ever taken; once all has arrived both are in the same state.
func TestModel(t *testing.T) {
	if seed := flag.Lookup("rapid.seed").Value; seed.String() == "0" { // which is another one in each run
		if err := seed.Set("1"); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		w := &model{pair: newPair(Config{Lost: time.Hour})}
		if start := rapid.SampledFrom([]State{Waiting, Screen, Control, Control}).Draw(rt, "start"); start == Waiting {
			w.connectModel(rt)
		} else {
			w.reach(t, start)
			w.granted++
		}
		local := func(r Role, f func(m *Machine, now time.Time, out *Output) error) func(*rapid.T) {
			return func(rt *rapid.T) {
				if err := w.do(r, f); err != nil && !errors.Is(err, face.ErrNotAllowed) {
					rt.Fatalf("%v: %v", r, err)
				}
			}
		}
		deliver := func(r Role) func(*rapid.T) {
			return func(rt *rapid.T) {
				before := w.m[r].State()
				if err := w.deliver(r); err != nil {
					rt.Fatalf("honest peer of %v: %v: %v", r, err, w.m[r].End().Reason)
				}
				if r == User && before < Screen && w.m[User].State() == Screen || r == User && before < Control && w.m[User].State() == Control {
					rt.Fatalf("a message led the User from %v to %v", before, w.m[User].State())
				}
			}
		}
		acts := map[string]func(*rapid.T){
			"": func(rt *rapid.T) {
				w.step++
				w.closeIfShut()
				w.invariants(rt)
				// The Helper types all the time; the network keeps it as long as it likes.
				if e, ok := w.m[Helper].Input(); ok {
					w.input = append(w.input, event{e, w.step})
				}
			},
			"deliver to User":    deliver(User),
			"deliver to Helper":  deliver(Helper),
			"deliver to User 2":  deliver(User),
			"deliver to Helper2": deliver(Helper),
			"answer": func(rt *rapid.T) {
				q := w.m[User].View().Question
				if q == nil {
					return
				}
				w.now = w.now.Add(2 * time.Second)
				yes := rapid.IntRange(0, 9).Draw(rt, "yes") > 0
				if err := w.do(User, func(m *Machine, now time.Time, out *Output) error { return m.Answer(now, q.ID, yes, out) }); err != nil {
					return // too late: the question has turned to No
				}
				w.granted++
			},
			"request": local(Helper, (*Machine).RequestControl),
			"end control": func(rt *rapid.T) {
				rapid.SampledFrom([]func(*rapid.T){
					local(Helper, (*Machine).ReleaseControl), local(User, (*Machine).ReleaseControl), local(User, (*Machine).Esc),
				}).Draw(rt, "how")(rt)
			},
			"pause":       local(User, func(m *Machine, now time.Time, out *Output) error { return m.Pause(now, true, out) }),
			"resume":      local(User, func(m *Machine, now time.Time, out *Output) error { return m.Pause(now, false, out) }),
			"user chat":   local(User, func(m *Machine, now time.Time, out *Output) error { return m.Chat(now, "u", out) }),
			"helper chat": local(Helper, func(m *Machine, now time.Time, out *Output) error { return m.Chat(now, "h", out) }),
			"input arrives": func(rt *rapid.T) {
				epoch, open := w.m[User].Gate()
				for _, ev := range w.input[rapid.IntRange(0, len(w.input)).Draw(rt, "from"):] {
					if open && ev.epoch == epoch && (ev.made <= w.shut || w.m[User].State() != Control) {
						rt.Fatalf("input of step %d is taken in %v, the gate was shut in step %d", ev.made, w.m[User].State(), w.shut)
					}
				}
			},
			"time": func(rt *rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.IntRange(1, 4000).Draw(rt, "ms")) * time.Millisecond)
				for _, r := range clients {
					w.do(r, func(m *Machine, now time.Time, out *Output) error { m.Tick(now, out); return nil })
				}
			},
			"stop": func(rt *rapid.T) {
				if rapid.IntRange(0, 300).Draw(rt, "really") == 7 {
					local(clients[rapid.IntRange(0, 1).Draw(rt, "who")], (*Machine).Stop)(rt)
				}
			},
		}
		for range 20 { // one Repeat alone is short
			rt.Repeat(acts)
		}
		for len(w.wire[User])+len(w.wire[Helper]) > 0 {
			for _, r := range clients {
				deliver(r)(rt)
			}
		}
		w.invariants(rt)
		u, h := w.m[User], w.m[Helper]
		lost := u.end != nil && u.end.Lost || h.end != nil && h.end.Lost
		if !lost && (u.State() != h.State() || u.State() != Ended && u.Paused() != h.Paused()) {
			rt.Fatalf("all has arrived: User %v paused %v, Helper %v paused %v", u.State(), u.Paused(), h.State(), h.Paused())
		}
		if epoch, open := u.Gate(); open && !lost {
			if e, ok := h.Input(); !ok || e != epoch {
				rt.Fatalf("all has arrived: gate %d, Helper %d %v", epoch, e, ok)
			}
		}
	})
}

func (w *model) connectModel(rt *rapid.T) {
	w.do(Helper, func(m *Machine, now time.Time, out *Output) error { return m.Connected(now, userAt, out) })
	w.do(User, func(m *Machine, now time.Time, out *Output) error { return m.Connected(now, helpAt, out) })
}

func (w *model) invariants(rt *rapid.T) {
	u := w.m[User]
	if (u.State() == Screen || u.State() == Control) && w.granted == 0 {
		rt.Fatalf("%v without a Yes", u.State())
	}
	if _, open := u.Gate(); open && (u.State() != Control || u.Paused()) {
		rt.Fatalf("the gate is open in %v, paused %v", u.State(), u.Paused())
	}
	for _, r := range clients {
		if m := w.m[r]; (m.State() == Ended) != (m.End() != nil) {
			rt.Fatalf("%v: state %v, end %v", r, m.State(), m.End())
		}
	}
}

// a hostile Helper, who may send anything at any time, never brings the
// User's machine to share without an answer given there.
func FuzzHostileHelper(f *testing.F) {
	f.Add([]byte{1, 0x11, 0x13, 4, 2, 3})
	f.Add([]byte{1, 0x10, 0x12, 0x17})
	f.Fuzz(func(t *testing.T, types []byte) {
		m, now, out := NewUser(Config{}), epoch0, Output{}
		if err := m.Connected(now, helpAt, &out); err != nil {
			t.Fatal(err)
		}
		for _, typ := range types {
			now = now.Add(time.Duration(typ>>6) * time.Second)
			m.Tick(now, &out)
			msg := Message{Type: Type(typ & 0x3f), Version: Version, Code: Yes, Text: "x", Epoch: 1, Lapse: 1}
			err := m.Receive(now, msg, &out)
			if s := m.State(); s != Waiting && s != Ended || err != nil && s != Ended {
				t.Fatalf("message %#x led to %v (%v)", msg.Type, s, err)
			}
			if _, open := m.Gate(); open {
				t.Fatal("the gate is open")
			}
			out.Reset()
		}
	})
}
