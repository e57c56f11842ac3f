package teredo

import (
	"context"

	"shipworm/teredo/packet"
	"shipworm/teredo/udp"
)

// SocketStats counts what a UDP socket could not do.
type SocketStats = udp.Stats

const (
	batchLen = 64 // packets or runs a system call, and a step of the machine
	batches  = 2  // one being read while the other is worked on

	// batchBytes is how much a step should move at most: what is read has to be
	// in the processor's cache still when it is written.
	batchBytes = 256 << 10
	minBatch   = 4 // runs of 64 KiB
)

// A pace says how many packets or runs a step takes: no more than fit, by how
// long those of the last steps were, nor many more than came the last time,
// since room for each has its price, too.
type pace struct{ longest, last int }

func (p *pace) most() int {
	room := min(max(batchBytes/max(p.longest, 1), minBatch), batchLen)
	return min(max(4*p.last, 2*minBatch), room)
}

func (p *pace) saw(pkts []packet.Packet) {
	p.last = len(pkts)
	p.longest -= p.longest / 8
	for i := range pkts {
		p.longest = max(p.longest, pkts[i].Len)
	}
}

// batch is what one read brought. It travels from the reader to the owner of
// the machine and back.
type batch struct {
	pkts []packet.Packet
	n    int
	from int // which socket
}

// reader carries batches from one or several blocking sources to the owner of
// a machine. The number of batches bounds what is in flight: when the owner is
// slow, packets wait in the source, whose queue is bounded too.
type reader struct {
	full chan *batch
	free chan *batch
}

// The buffers have room for runs; memory that none is read into is never touched.
func newReader(sources, size int) *reader {
	n := batches * sources
	r := &reader{full: make(chan *batch, n), free: make(chan *batch, n)}
	for range n {
		r.free <- &batch{pkts: packet.NewBatch(batchLen, size)}
	}
	return r
}

// run reads until the source fails or ctx ends.
func (r *reader) run(ctx context.Context, from int, read func([]packet.Packet) (int, error)) error {
	for {
		var b *batch
		select {
		case b = <-r.free:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		n, err := read(b.pkts)
		if err != nil {
			return err
		}
		b.n, b.from = n, from
		r.full <- b // has room for every batch there is
	}
}
