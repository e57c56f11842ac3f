package rfb

import (
	"bytes"
	"context"
	"errors"
	"image"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"shipworm/internal/leak"
	"shipworm/ra/screen"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leak.Patient(m)) }

// A bench is a Serve with a viewer at its other end, inside a synctest bubble:
// time passes only when both have nothing left to do.
type bench struct {
	t      *testing.T
	src    *screen.Memory
	gate   *Gate
	conn   net.Conn // the viewer's end
	viewer *Viewer
	down   *meter // bytes to the viewer
	served chan error
	ended  chan struct{}

	mu    sync.Mutex
	frame *screen.Frame // what the viewer has
}

// A meter counts what passes and lets tests look at it.
type meter struct {
	net.Conn
	n    atomic.Int64
	seen func([]byte)
}

func (m *meter) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	m.n.Add(int64(n))
	if m.seen != nil {
		m.seen(b[:n])
	}
	return n, err
}

func newBench(t *testing.T, size image.Point, cfg ServerConfig, seen func([]byte)) *bench {
	t.Helper()
	src, err := screen.NewMemory(size)
	if err != nil {
		t.Fatal(err)
	}
	user, helper := net.Pipe()
	b := &bench{t: t, src: src, conn: helper, served: make(chan error, 1), ended: make(chan struct{})}
	cfg.Source = src
	b.gate = cfg.Gate
	go func() { b.served <- Serve(t.Context(), user, cfg) }()
	b.down = &meter{Conn: helper, seen: seen}
	return b
}

// view connects a viewer and lets it run.
func (b *bench) view(cfg ViewerConfig) {
	b.t.Helper()
	v, err := NewViewer(b.down, cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.viewer = v
	go func() {
		defer close(b.ended)
		for {
			if _, err := v.Next(); err != nil {
				return
			}
			f := &screen.Frame{Size: v.Frame().Size, Pix: bytes.Clone(v.Frame().Pix)}
			b.mu.Lock()
			b.frame = f
			b.mu.Unlock()
		}
	}()
}

func (b *bench) picture() *screen.Frame {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.frame
}

func (b *bench) close() error {
	b.conn.Close()
	if b.viewer != nil {
		<-b.ended
	}
	return <-b.served
}

// settle lets everything come to rest, for as long as d.
func (b *bench) settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (b *bench) same() {
	b.t.Helper()
	want := b.src.Snapshot()
	got := b.picture()
	if got.Size != want.Size {
		b.t.Fatalf("viewer has %v, desktop has %v", got.Size, want.Size)
	}
	if !bytes.Equal(got.Pix, want.Pix) {
		b.t.Fatalf("pictures differ in %v", difference(got, want, want.Bounds()))
	}
}

// The viewer's picture equals the desktop, byte for byte, after it settled:
// whatever was painted, in both modes of asking, with and without JPEG.
func TestServeSettles(t *testing.T) {
	for name, v := range map[string]ViewerConfig{
		"requests":        {},
		"continuous":      {Continuous: true},
		"tight":           {Encodings: []int32{EncTight, EncRaw}},
		"raw":             {Encodings: []int32{EncRaw}},
		"nothing offered": {Encodings: []int32{}},
		"jpeg":            {Encodings: []int32{EncTight, EncZRLE, EncQuality0 + 7, EncFence, EncContinuous}, Continuous: true},
		"jpeg requests":   {Encodings: []int32{EncTight, EncZRLE, EncQuality0 + 7}},
		"noVNC format": {
			Encodings:  []int32{EncTight, EncZRLE, EncQuality0 + 6, EncFence, EncContinuous},
			Format:     &PixelFormat{32, 24, false, 255, 255, 255, 0, 8, 16},
			Continuous: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				size := image.Pt(300, 200)
				b := newBench(t, size, ServerConfig{}, nil)
				b.view(v)
				rng := rand.New(rand.NewPCG(7, 7))
				for range 40 {
					p, r := painters[rng.IntN(len(painters))], randomRect(rng, size)
					b.src.Paint(r, func(f *screen.Frame) { p.paint(rng, f, r) })
					if rng.IntN(3) == 0 {
						b.settle(time.Duration(rng.IntN(500)) * time.Millisecond)
					}
				}
				b.settle(time.Second)
				b.same()
				if err := b.close(); err != nil {
					t.Errorf("Serve: %v", err)
				}
			})
		})
	}
}

// Idle means no traffic at all, and paint that changes nothing is idle too.
func TestServeIdle(t *testing.T) {
	for name, v := range map[string]ViewerConfig{"requests": {}, "continuous": {Continuous: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, image.Pt(200, 100), ServerConfig{}, nil)
				b.view(v)
				b.settle(time.Second)
				before := b.down.n.Load()
				for range 100 {
					b.src.Paint(image.Rect(0, 0, 200, 100), func(*screen.Frame) {})
					b.settle(100 * time.Millisecond)
				}
				if n := b.down.n.Load() - before; n != 0 {
					t.Errorf("%d bytes while idle", n)
				}
				b.same()
				b.close()
			})
		})
	}
}

// With Lossless nothing goes as JPEG, though the viewer offered it.
func TestServeLossless(t *testing.T) {
	for name, lossless := range map[string]bool{"lossless": true, "lossy first": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var jpegs atomic.Int32
				b := newBench(t, image.Pt(128, 128), ServerConfig{Lossless: lossless}, func(p []byte) {
					jpegs.Add(int32(bytes.Count(p, []byte{0xff, 0xd8, 0xff})))
				})
				b.src.Paint(image.Rect(0, 0, 128, 128), func(f *screen.Frame) { paintPhoto(f, f.Bounds()) })
				b.view(ViewerConfig{Encodings: []int32{EncTight, EncZRLE, EncQuality0 + 9}})
				b.settle(100 * time.Millisecond)
				if n := jpegs.Load(); (n > 0) == lossless {
					t.Errorf("%d JPEGs", n)
				}
				if same := bytes.Equal(b.picture().Pix, b.src.Snapshot().Pix); same != lossless {
					t.Errorf("picture exact after 100 ms: %v", same)
				}
				b.settle(time.Second)
				b.same()
				b.close()
			})
		})
	}
}

// what is painted while paused never leaves, neither the picture nor the
// pointer nor the size; after the pause the newest picture comes.
func TestServePaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		canary := []byte{0x5a, 0xc3, 0x99} // blue, green, red
		var leaked, watching atomic.Bool
		gate := NewGate(true)
		// Raw encoding: the canary would be seen as it is.
		b := newBench(t, image.Pt(64, 64), ServerConfig{Gate: gate}, func(p []byte) {
			if watching.Load() && bytes.Contains(p, canary) {
				leaked.Store(true)
			}
		})
		b.view(ViewerConfig{Encodings: []int32{EncRaw, EncCursor, EncDesktopSize}})
		b.settle(time.Second)
		rng := rand.New(rand.NewPCG(3, 3))
		for round := range 200 {
			// Some damage is under way when the pause comes.
			b.src.Paint(image.Rect(0, 0, 64, 64), func(f *screen.Frame) { scatter(rng, f, f.Bounds(), 3) })
			if rng.IntN(2) == 0 {
				time.Sleep(time.Duration(rng.IntN(40)) * time.Millisecond)
			}
			gate.Set(false)
			watching.Store(true)
			b.settle(0)
			bytesBefore, grabs := b.down.n.Load(), b.src.Grabs()
			b.src.Paint(image.Rect(0, 0, 64, 64), func(f *screen.Frame) { f.Fill(f.Bounds(), 0x99c35a) })
			b.src.SetCursor(screen.Cursor{Size: image.Pt(1, 1), Pix: append(bytes.Clone(canary), 255)})
			if round%50 == 49 {
				b.src.Resize(image.Pt(64, 64))
			}
			b.viewer.Request(false, image.Rect(0, 0, 64, 64))
			b.settle(time.Second)
			if n := b.down.n.Load() - bytesBefore; n != 0 || b.src.Grabs() != grabs {
				t.Fatalf("round %d: %d bytes and %d grabs while paused", round, n, b.src.Grabs()-grabs)
			}
			b.src.SetCursor(screen.Cursor{})
			b.src.Paint(image.Rect(0, 0, 64, 64), func(f *screen.Frame) { f.Fill(f.Bounds(), uint32(round)) })
			gate.Set(true)
			b.settle(100 * time.Millisecond)
			b.same()
			watching.Store(false)
		}
		if leaked.Load() {
			t.Error("the canary left while paused")
		}
		b.close()
	})
}

// A stuck viewer: at most two updates are on their way, and when it comes back
// it gets the newest picture, not the history (RR-05).
func TestServeInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, image.Pt(64, 64), ServerConfig{}, nil)
		d, err := NewDecoder(b.conn)
		if err != nil {
			t.Fatal(err)
		}
		whole := d.Frame().Bounds()
		send := func(m ClientMessage) {
			if _, err := b.conn.Write(m.AppendTo(nil)); err != nil {
				t.Fatal(err)
			}
		}
		updates, fences := 0, []Fence(nil)
		go func() {
			for {
				ev, err := d.Next()
				if err != nil {
					return
				}
				switch ev {
				case Updated:
					updates++
				case FenceReceived:
					fences = append(fences, d.LastFence())
				}
			}
		}()
		send(SetEncodings{[]int32{EncZRLE, EncFence, EncContinuous}})
		send(EnableContinuous{true, whole})
		for i := range 50 {
			b.src.Paint(whole, func(f *screen.Frame) { f.Fill(f.Bounds(), uint32(i)) })
			b.settle(50 * time.Millisecond)
		}
		if updates != maxInFlight {
			t.Fatalf("%d updates without an answer", updates)
		}
		// The first fence only announces; answer the last one.
		f := fences[len(fences)-1]
		f.Flags &^= FenceRequest
		send(f)
		b.settle(50 * time.Millisecond)
		if updates != maxInFlight+1 {
			t.Fatalf("%d updates after one answer", updates)
		}
		if got := d.Frame().Row(0, 0, 1)[0]; got != 49 {
			t.Errorf("picture %d, want the newest, 49", got)
		}
		b.close()
	})
}

// The rules of continuous updates and fences (community text).
func TestServeRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, image.Pt(64, 64), ServerConfig{}, nil)
		d, err := NewDecoder(b.conn)
		if err != nil {
			t.Fatal(err)
		}
		var events []ServerEvent
		go func() {
			for {
				ev, err := d.Next()
				if err != nil {
					return
				}
				events = append(events, ev)
			}
		}()
		whole := d.Frame().Bounds()
		step := func(want []ServerEvent, actions ...any) { // messages, or functions to call
			t.Helper()
			events = nil
			for _, a := range actions {
				switch a := a.(type) {
				case func():
					a()
				case ClientMessage:
					if _, err := b.conn.Write(a.AppendTo(nil)); err != nil {
						t.Fatal(err)
					}
				}
			}
			b.settle(time.Second)
			if len(events) != len(want) {
				t.Fatalf("got %v, want %v", events, want)
			}
			for i := range want {
				if events[i] != want[i] {
					t.Fatalf("got %v, want %v", events, want)
				}
			}
		}
		color := uint32(0)
		paint := func() {
			color++
			b.src.Paint(image.Rect(1, 1, 3, 3), func(f *screen.Frame) { f.Fill(image.Rect(1, 1, 3, 3), color) })
		}
		step(nil) // nothing without a request
		step([]ServerEvent{EndContinuous}, SetEncodings{[]int32{EncZRLE, EncContinuous}})
		step(nil, SetEncodings{[]int32{EncZRLE, EncContinuous}}) // announced once
		step([]ServerEvent{Updated}, UpdateRequest{false, whole})
		step(nil, UpdateRequest{true, whole}) // waits for a change
		step([]ServerEvent{Updated}, paint)
		step(nil, paint) // nobody asked
		step([]ServerEvent{Updated}, EnableContinuous{true, whole})
		step(nil, UpdateRequest{true, whole})                     // ignored
		step([]ServerEvent{Updated}, UpdateRequest{false, whole}) // honoured
		step([]ServerEvent{Updated}, paint)
		step([]ServerEvent{EndContinuous}, EnableContinuous{false, whole})
		step([]ServerEvent{EndContinuous}, EnableContinuous{false, whole}) // always answered
		step(nil, paint)
		step([]ServerEvent{FenceReceived, FenceReceived},
			SetEncodings{[]int32{EncZRLE, EncFence}},
			Fence{FenceRequest | FenceSyncNext | 1<<20, []byte("hello")})
		if f := d.LastFence(); f.Flags != FenceSyncNext || string(f.Payload) != "hello" {
			t.Errorf("fence answered with %+v", f)
		}
		b.close()
	})
}

func TestServeRefuses(t *testing.T) {
	for name, wire := range map[string][]byte{
		"key event":                   Input{Kind: KeyInput, Keysym: 'a'}.AppendTo(nil),
		"pointer event":               Input{Kind: PointerInput}.AppendTo(nil),
		"cut text":                    {msgClientCutText, 0, 0, 0, 0, 0, 0, 1, 'x'},
		"continuous without offering": EnableContinuous{On: true}.AppendTo(nil),
		"fence without offering":      Fence{}.AppendTo(nil),
		"answer nobody asked for": append(SetEncodings{[]int32{EncFence}}.AppendTo(nil),
			Fence{Payload: []byte{0, 0, 0, 9}}.AppendTo(nil)...),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, image.Pt(64, 64), ServerConfig{}, nil)
				go io.Copy(io.Discard, b.conn)
				go b.conn.Write(wire) // Serve need not read all of it
				if err := <-b.served; !errors.Is(err, ErrProtocol) {
					t.Errorf("got %v", err)
				}
				b.conn.Close()
			})
		})
	}
}

// The desktop changes its size: a viewer that can follow follows, another one
// sees the upper left part of it, black where there is nothing.
func TestServeResize(t *testing.T) {
	for name, v := range map[string]ViewerConfig{
		"requests": {}, "continuous": {Continuous: true}, "fixed": {Encodings: []int32{EncZRLE}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, image.Pt(100, 100), ServerConfig{}, nil)
				b.view(v)
				for _, size := range []image.Point{{100, 100}, {300, 70}, {70, 300}, {64, 64}, {500, 400}} {
					if err := b.src.Resize(size); err != nil {
						t.Fatal(err)
					}
					b.src.Paint(image.Rectangle{Max: size}, func(f *screen.Frame) { paintPhoto(f, f.Bounds()) })
					b.settle(time.Second)
					if name != "fixed" {
						b.same()
						continue
					}
					want := screen.NewFrame(image.Pt(100, 100))
					want.Copy(b.src.Snapshot(), want.Bounds())
					if d := difference(b.picture(), want, want.Bounds()); !d.Empty() {
						t.Fatalf("%v: differs in %v", size, d)
					}
				}
				b.close()
			})
		})
	}
}

// Serve ends with its context, with its source, and with its viewer.
func TestServeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, _ := screen.NewMemory(image.Pt(64, 64))
		user, helper := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- Serve(ctx, user, ServerConfig{Source: src}) }()
		synctest.Wait() // blocked in writing ServerInit
		cancel()
		if err := <-served; !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		helper.Close()

		b := newBench(t, image.Pt(64, 64), ServerConfig{}, nil)
		b.view(ViewerConfig{})
		b.settle(time.Second)
		b.src.Close()
		if err := <-b.served; !errors.Is(err, net.ErrClosed) {
			t.Errorf("source closed: %v", err)
		}
		b.conn.Close()
		<-b.ended
	})
}

// A pointer shape is sent to a viewer that can show one.
func TestServeCursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, image.Pt(64, 64), ServerConfig{}, nil)
		b.view(ViewerConfig{})
		b.settle(time.Second)
		b.src.SetCursor(screen.Cursor{Size: image.Pt(2, 1), Hot: image.Pt(1, 0), Pix: []byte{1, 2, 3, 255, 4, 5, 6, 0}})
		b.settle(time.Second)
		if c := b.viewer.Cursor(); c.Size != image.Pt(2, 1) || c.Hot != image.Pt(1, 0) ||
			!bytes.Equal(c.Pix, []byte{1, 2, 3, 255, 4, 5, 6, 0}) {
			t.Errorf("got %+v", c)
		}
		b.close()
	})
}
