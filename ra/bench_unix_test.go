//go:build unix

package ra

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"shipworm/ra/face"
	"shipworm/ra/invite"
	"shipworm/ra/rfb"
	"shipworm/ra/screen"
)

// BenchmarkIdleSession measures what a session costs in which nobody does
// anything: bits a second on the wire with IPv6 and UDP headers, both
// directions together, heartbeats included, and the processor time of both
// sides. Promise: 2 kbit/s besides keep-alives, 1 % of a core.
func BenchmarkIdleSession(b *testing.B) {
	for _, state := range []string{face.Screen, face.Control} {
		b.Run(state, func(b *testing.B) {
			h := newHome(b)
			h.share()
			_, v := h.viewer()
			go func() {
				for {
					if _, err := v.Next(); err != nil {
						return
					}
				}
			}()
			if state == face.Control {
				h.control()
			}
			time.Sleep(2 * time.Second)
			const span = 20 * time.Second
			for b.Loop() {
				bits, packets, cpu := h.traffic()
				time.Sleep(span)
				bits2, packets2, cpu2 := h.traffic()
				b.ReportMetric(float64(bits2-bits)/span.Seconds(), "bit/s")
				b.ReportMetric(float64(packets2-packets)/span.Seconds(), "packets/s")
				b.ReportMetric(100*(cpu2-cpu).Seconds()/span.Seconds(), "%core")
			}
		})
	}
}

func (h *home) traffic() (bits, packets int64, cpu time.Duration) {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	cpu = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	return 8 * (h.userNet.bytes.Load() + h.helpNet.bytes.Load()), h.userNet.sent.Load() + h.helpNet.sent.Load(), cpu
}

// BenchmarkFirstFrame measures, on a link of 50 ms a round trip, from the
// password to the first whole frame in a viewer; the User says Yes at once.
// Promise: 6 round trips and 300 ms. Then a key, from the viewer to its
// picture in the viewer. Promise: 2 round trips and 50 ms.
func BenchmarkFirstFrame(b *testing.B) {
	const rtt = 50 * time.Millisecond
	var opened, typed time.Duration
	for b.Loop() {
		h := newHome(b, func(c *UserConfig) { c.seal = nil }) // for real
		h.userNet.delay, h.helpNet.delay = rtt/2, rtt/2
		h.inj.paint = h.screen
		v := h.waitUser("an invitation", func(v face.View) bool { return v.Invitation != nil })
		go h.answer(face.AskView, true)
		runtime.Gosched()

		start := time.Now()
		raw, err := os.ReadFile(v.Invitation.File)
		must(b, err)
		f, err := invite.Parse(raw)
		must(b, err)
		inv, err := f.Open(v.Invitation.Password)
		must(b, err)
		h.dial(inv, v.Invitation.Password)
		h.waitHelper("the screen", func(v face.View) bool { return v.State == face.Screen })
		conn, viewer := h.viewer()
		h.until(b, viewer, func() bool { return bytes.Equal(viewer.Frame().Pix, h.screen.Snapshot().Pix) })
		opened += time.Since(start)

		h.control()
		before := viewer.Frame().Pix[0]
		start = time.Now()
		_, err = conn.Write(keyA.AppendTo(nil))
		must(b, err)
		h.until(b, viewer, func() bool { return viewer.Frame().Pix[0] != before })
		typed += time.Since(start)
		must(b, h.helper.Stop())
		h.ends()
	}
	b.ReportMetric(float64(opened.Milliseconds())/float64(b.N), "ms-to-first-frame")
	b.ReportMetric(float64(typed.Milliseconds())/float64(b.N), "ms-key-to-picture")
}

func (h *home) until(b *testing.B, v *rfb.Viewer, ok func() bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for {
		ev, err := v.Next()
		must(b, err)
		must(b, ctx.Err())
		if ev == rfb.Updated && ok() {
			return
		}
	}
}

// BenchmarkChatBesideVideo measures how long a line of chat takes from the User
// to the Helper while the whole screen changes all the time, on slow lines
// (RR-05). A full datagram alone lasts 160 ms at 64 kbit/s.
func BenchmarkChatBesideVideo(b *testing.B) {
	for _, rate := range []int{64_000, 1_000_000, 10_000_000} {
		b.Run(fmt.Sprintf("%dkbps", rate/1000), func(b *testing.B) {
			h := newHome(b)
			h.share()
			_, v := h.viewer()
			go func() {
				for {
					if _, err := v.Next(); err != nil {
						return
					}
				}
			}()
			h.userNet.rate, h.userNet.delay, h.helpNet.delay = rate, 10*time.Millisecond, 10*time.Millisecond
			stop := make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(1, 2))
				all := image.Rect(0, 0, 320, 200)
				for {
					select {
					case <-stop:
						return
					case <-time.After(20 * time.Millisecond):
						h.screen.Paint(all, func(f *screen.Frame) {
							for i := range f.Pix {
								if i%4 != 3 {
									f.Pix[i] = byte(rng.Uint32())
								}
							}
						})
					}
				}
			})
			time.Sleep(3 * time.Second)
			var all []time.Duration
			for b.Loop() {
				text := fmt.Sprint("line ", len(all))
				start := time.Now()
				must(b, h.user.Chat(text))
				h.waitHelper("chat", said(text))
				all = append(all, time.Since(start))
				time.Sleep(100 * time.Millisecond)
			}
			close(stop)
			wg.Wait()
			slices.Sort(all)
			b.ReportMetric(float64(all[len(all)/2].Milliseconds()), "ms-p50")
			b.ReportMetric(float64(all[len(all)*95/100].Milliseconds()), "ms-p95")
		})
	}
}
