//go:build lab

package input

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shipworm/ra/rfb"
	"shipworm/ra/x11"
	"shipworm/ra/x11/xvfb"
)

// desktop starts an X server with a terminal on it that runs a shell command,
// and points at the terminal (without a window manager that gives it focus).
func desktop(t testing.TB, command string) (display string, x *XTest) {
	t.Helper()
	display = xvfb.Start(t, image.Pt(1280, 800), 24)
	if command != "" {
		xvfb.Run(t, display, "xterm", "-u8", "-geometry", "100x30+20+20", "-e", "sh", "-c", command)
		xvfb.Shows(t, display)
	}
	x, err := OpenXTest(display)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	if err := x.Inject(rfb.Input{Kind: rfb.PointerInput, X: 200, Y: 200}); err != nil {
		t.Fatal(err)
	}
	return display, x
}

func wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s", what)
		}
	}
}

func tap(t testing.TB, x *XTest, sym uint32) {
	t.Helper()
	for _, down := range []bool{true, false} {
		if err := x.Inject(key(down, sym)); err != nil {
			t.Fatal(err)
		}
	}
}

// Text typed by the Helper arrives in a program: the shell in a real terminal
// writes what it read to a file.
func TestTypingIntoXterm(t *testing.T) {
	file := filepath.Join(t.TempDir(), "typed")
	ready := file + ".ready"
	_, x := desktop(t, fmt.Sprintf("stty -echo; touch %s; IFS= read -r line; printf %%s \"$line\" > %s", ready, file))
	wait(t, "terminal", func() bool { _, err := os.Stat(ready); return err == nil })
	text := "Hello, WORLD! a@b.c ~{[|]}^ \"q\" \\n äöü ÄÖÜ ß é € \u0416\u0436 \u4f60\u597d x"
	for _, r := range text {
		tap(t, x, symOf(r))
	}
	tap(t, x, 0xff0d)
	var got []byte
	wait(t, "line in the file", func() bool { got, _ = os.ReadFile(file); return len(got) > 0 })
	if string(got) != text {
		t.Errorf("typed %q\n  got %q", text, got)
	}
}

// A release that comes late, because the line or a machine stood still, makes of
// one letter no more than one: the display must not begin to repeat it.
func TestLateRelease(t *testing.T) {
	file := filepath.Join(t.TempDir(), "typed")
	ready := file + ".ready"
	_, x := desktop(t, fmt.Sprintf("stty -echo; touch %s; IFS= read -r line; printf %%s \"$line\" > %s", ready, file))
	wait(t, "terminal", func() bool { _, err := os.Stat(ready); return err == nil })
	time.Sleep(300 * time.Millisecond) // until the terminal takes its first key
	if err := x.Inject(key(true, 'a')); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // a display repeats after 660 ms
	for _, in := range []rfb.Input{key(false, 'a'), key(true, 0xff0d), key(false, 0xff0d)} {
		if err := x.Inject(in); err != nil {
			t.Fatal(err)
		}
	}
	var got []byte
	wait(t, "line in the file", func() bool { got, _ = os.ReadFile(file); return len(got) > 0 })
	if string(got) != "a" {
		t.Errorf("one key, held for a second, made %q", got)
	}
}

// The Helper needs Esc in an editor: an injected Esc arrives, and does not
// count as the User's.
func TestInjectedEscArrives(t *testing.T) {
	file := filepath.Join(t.TempDir(), "typed")
	ready := file + ".ready"
	_, x := desktop(t, fmt.Sprintf("stty -echo -icanon min 1; touch %s; dd bs=1 count=3 of=%s 2>/dev/null", ready, file))
	ctx, cancel := context.WithCancel(context.Background())
	var pressed atomic.Int32
	watched := make(chan error, 1)
	go func() { watched <- x.Watch(ctx, func() { pressed.Add(1) }) }()
	wait(t, "terminal", func() bool { _, err := os.Stat(ready); return err == nil })
	for _, sym := range []uint32{'a', symEscape, 'b'} {
		tap(t, x, sym)
	}
	var got []byte
	wait(t, "keys in the file", func() bool { got, _ = os.ReadFile(file); return len(got) == 3 })
	if !bytes.Equal(got, []byte("a\x1bb")) {
		t.Errorf("got %q", got)
	}
	time.Sleep(100 * time.Millisecond)
	if n := pressed.Load(); n != 0 {
		t.Errorf("%d of our own Esc counted as the User's", n)
	}
	cancel()
	if err := <-watched; err != context.Canceled {
		t.Error(err)
	}
}

// 1,000 presses of Esc by another client, at random points of a flood of
// our own events with our own Esc among them. Each is reported once, most within
// 50 ms, none of ours is; and after the report nothing more is injected.
func TestEsc(t *testing.T) {
	display, x := desktop(t, "")
	user, err := x11.OpenInput(display) // stands for the User's keyboard
	if err != nil {
		t.Fatal(err)
	}
	defer user.Close()

	// What a session does: a gate in front of the injector, shut by Esc.
	var gate sync.Mutex
	open := false
	reports := make(chan time.Time, 100)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	watched := make(chan error, 1)
	go func() {
		watched <- x.Watch(ctx, func() {
			at := time.Now()
			gate.Lock()
			open = false
			x.ReleaseAll()
			gate.Unlock()
			reports <- at
		})
	}()
	// An independent witness of every press on the display, in order.
	type press struct {
		code byte
		at   time.Time
	}
	var witness sync.Mutex
	var seen []press
	w, err := x11.WatchKeys(display, x11.KeyEvents{Press: func(code byte, _ bool) {
		witness.Lock()
		seen = append(seen, press{code, time.Now()})
		witness.Unlock()
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()

	var injected atomic.Int64
	flood := make(chan struct{})
	go func() {
		defer close(flood)
		rng := rand.New(rand.NewPCG(1, 2))
		syms := []uint32{'a', 'b', symEscape, 0xfc, 'X'}
		for ctx.Err() == nil {
			gate.Lock()
			if !open {
				gate.Unlock()
				time.Sleep(50 * time.Microsecond)
				continue
			}
			sym := syms[rng.IntN(len(syms))]
			for _, in := range []rfb.Input{
				key(true, sym), key(false, sym),
				{Kind: rfb.PointerInput, X: uint16(rng.IntN(1280)), Y: uint16(rng.IntN(800)), Buttons: uint8(rng.IntN(2))},
			} {
				if err := x.Inject(in); err != nil {
					t.Error(err)
				}
				injected.Add(1)
			}
			gate.Unlock()
		}
	}()

	// mark presses a key that nobody else does, and returns how many presses
	// the witness had seen when it saw that.
	const markCode = 67 // F1
	mark := func() (n int) {
		t.Helper()
		witness.Lock()
		before := len(seen)
		witness.Unlock()
		user.Key(markCode, true)
		user.Key(markCode, false)
		wait(t, "mark", func() bool {
			witness.Lock()
			defer witness.Unlock()
			n = before + slices.IndexFunc(seen[before:], func(p press) bool { return p.code == markCode })
			return n >= before
		})
		return n
	}

	time.Sleep(100 * time.Millisecond)
	rng := rand.New(rand.NewPCG(3, 4))
	const rounds = 1000
	var delays []time.Duration
	for round := range rounds {
		gate.Lock()
		open = true
		gate.Unlock()
		time.Sleep(time.Duration(rng.IntN(6000)) * time.Microsecond)
		start := time.Now()
		user.Key(escCode, true)
		user.Key(escCode, false)
		select {
		case at := <-reports:
			delays = append(delays, at.Sub(start))
		case <-time.After(time.Minute):
			t.Fatalf("round %d: not reported", round)
		}
		// The gate is shut: from now on nobody presses anything.
		if err := user.Sync(); err != nil {
			t.Fatal(err)
		}
		before := injected.Load()
		state, err := user.State()
		if err != nil || state&^(1<<13|1<<14) != 0 {
			t.Fatalf("round %d: still held: %#x, %v", round, state, err)
		}
		if round%5 == 0 { // the witness sees no press any more either
			time.Sleep(2 * time.Millisecond)
			n := mark()
			time.Sleep(3 * time.Millisecond)
			if m := mark(); m != n+1 {
				t.Fatalf("round %d: %d presses after Esc", round, m-n-1)
			}
		}
		if injected.Load() != before {
			t.Fatalf("round %d: injected after Esc", round)
		}
		if len(reports) > 0 {
			t.Fatalf("round %d: reported twice", round)
		}
	}
	cancel()
	<-flood
	if err := <-watched; err != context.Canceled {
		t.Error(err)
	}
	slices.Sort(delays)
	witness.Lock()
	defer witness.Unlock()
	esc := 0
	for _, p := range seen {
		if p.code == escCode {
			esc++
		}
	}
	t.Logf("%d events injected, %d Esc on the display, %d of them the User's; reported after p50 %v, p99 %v, max %v",
		injected.Load(), esc, rounds, delays[len(delays)/2], delays[len(delays)*99/100], delays[len(delays)-1])
	if esc <= rounds {
		t.Error("the flood had no Esc of its own")
	}
	// The slowest of a thousand measure the machine's scheduler.
	if slow := delays[len(delays)/2]; slow > 50*time.Millisecond {
		t.Errorf("half of the reports come later than %v", slow)
	}
}

// Watch ends when the display does.
func TestWatchEnds(t *testing.T) {
	watched := make(chan error, 1)
	t.Run("display", func(t *testing.T) {
		display := xvfb.Start(t, image.Pt(100, 100), 24)
		x := &XTest{name: display}
		mapped := make(chan struct{})
		go func() { watched <- x.Watch(context.Background(), func() {}) }()
		go func() {
			for {
				x.log.mu.Lock()
				n := len(x.log.esc)
				x.log.mu.Unlock()
				if n > 0 {
					close(mapped)
					return
				}
				time.Sleep(time.Millisecond)
			}
		}()
		<-mapped
	})
	select {
	case err := <-watched:
		if err == nil {
			t.Error("no error")
		}
	case <-time.After(time.Minute):
		t.Error("still watching")
	}
}

func BenchmarkInject(b *testing.B) {
	_, x := desktop(b, "")
	b.Run("key", func(b *testing.B) {
		for b.Loop() {
			tap(b, x, 'a')
		}
	})
	b.Run("pointer", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if err := x.Inject(rfb.Input{Kind: rfb.PointerInput, X: uint16(i % 1000), Y: 5}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// C-07: after a crash, whose keys and buttons nobody remembers, all are let go.
func TestReleaseStuck(t *testing.T) {
	display, x := desktop(t, "")
	for _, in := range []rfb.Input{key(true, 0xffe3), key(true, symShiftL), {Kind: rfb.PointerInput, X: 200, Y: 200, Buttons: 1}} {
		if err := x.Inject(in); err != nil {
			t.Fatal(err)
		}
	}
	d, err := x11.OpenInput(display)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	held := func() (n int, mask uint16) {
		t.Helper()
		codes, err := d.Pressed()
		if err == nil {
			mask, err = d.State()
		}
		if err != nil {
			t.Fatal(err)
		}
		return len(codes), mask
	}
	if n, mask := held(); n != 2 || mask&(1<<0|1<<2|1<<8) != 1<<0|1<<2|1<<8 {
		t.Fatalf("%d keys down, state %#x; want two, Control and Shift, and the left button", n, mask)
	}
	if err := ReleaseStuck(display); err != nil {
		t.Fatal(err)
	}
	if n, mask := held(); n != 0 || mask != 0 {
		t.Errorf("%d keys still down, state %#x", n, mask)
	}
}
