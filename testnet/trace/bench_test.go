package trace_test

import (
	"io"
	"testing"
	"time"

	"shipworm/testnet/sim"
	"shipworm/testnet/trace"
)

// traffic sends n packets of 1200 bytes from alice to bob through both homes.
func traffic(h *homes, n int) {
	payload := make([]byte, 1200)
	for i := range n {
		payload[0], payload[1], payload[2] = byte(i), byte(i>>8), byte(i>>16)
		h.a.SendTo(bobAt, payload)
		if i%32 == 31 {
			h.run(20 * time.Millisecond)
		}
	}
	h.run(time.Second)
}

// BenchmarkRecord is what recording costs: ns/op is a packet that crosses two
// NATs and four lines, with nothing attached, with an empty trace function,
// and with a Recorder that has room, or none left.
func BenchmarkRecord(b *testing.B) {
	const n = 10000
	for _, c := range []struct {
		name   string
		attach func(w *sim.World)
	}{
		{"off", func(*sim.World) {}},
		{"empty", func(w *sim.World) { w.SetTrace(func(sim.Event) {}); w.Watch(func(sim.Transit) {}) }},
		{"on", func(w *sim.World) { trace.New(trace.Config{}).Attach(w) }},
		{"full", func(w *sim.World) { trace.New(trace.Config{Keep: 1}).Attach(w) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var spent time.Duration
			packets := 0
			for b.Loop() {
				b.StopTimer()
				h := newHomes(b, 1)
				h.b.SendTo(aliceAt, nil)
				h.run(time.Second)
				c.attach(h.World)
				b.StartTimer()
				began := time.Now()
				traffic(h, n)
				spent += time.Since(began)
				packets += n
			}
			const sightings = 4 + 4 // events and lines
			b.ReportMetric(float64(spent.Nanoseconds())/float64(packets), "ns/packet")
			b.ReportMetric(sightings*float64(packets)/spent.Seconds(), "events/s")
		})
	}
}

// BenchmarkWrite is what writing costs, for 10000 packets on 40000 lines.
func BenchmarkWrite(b *testing.B) {
	h := newHomes(b, 1)
	h.b.SendTo(aliceAt, nil)
	h.run(time.Second)
	r := trace.New(trace.Config{})
	r.Attach(h.World)
	traffic(h, 10000)
	t := r.Trace(trace.Filter{})
	for _, f := range forms {
		b.Run(f.file, func(b *testing.B) {
			for b.Loop() {
				if err := f.write(t, io.Discard); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(t.Events)+len(t.Packets))*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
