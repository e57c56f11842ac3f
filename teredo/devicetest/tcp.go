package devicetest

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"

	"shipworm/teredo/packet"
)

// conn is the suite's end of a TCP connection to the host: as little of TCP as
// a link without loss and reordering needs.
type conn struct {
	h        *harness
	host     net.Conn
	pkts     []packet.Packet // to read into
	seq, una uint32          // of ours: next, and first that was not acknowledged
	ack      uint32          // of the host's: next
	window   int             // of the host's, without a scale
	ecn      bool            // the host knows ECN (RFC 3168)
}

const mss = 1280 - tcpHeader

// connect opens a connection to the host's listener.
func (h *harness) connect(pkts []packet.Packet) *conn {
	h.needsStack()
	c := &conn{h: h, pkts: pkts, seq: 0xffff8000} // sequence numbers wrap
	c.una = c.seq
	h.write(single(c.segment(syn|ece|cwr, 0, nil)))
	c.seq++
	for c.una != c.seq {
		for _, b := range h.read(pkts) {
			if b[6] == protoTCP && b[53]&(syn|ack) == syn|ack {
				c.ack, c.una, c.ecn = be.Uint32(b[44:])+1, be.Uint32(b[48:]), b[53]&ece != 0
				c.window = int(be.Uint16(b[54:]))
			}
		}
	}
	h.write(single(c.segment(ack, 0, nil)))
	var err error
	if c.host, err = h.Listener.Accept(); err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { c.host.Close() })
	return c
}

// segment makes a segment at seq; ecn are the two bits of the IPv6 header.
func (c *conn) segment(flags, ecn byte, payload []byte) []byte {
	b := be.AppendUint16(nil, c.h.peer.Port())
	b = be.AppendUint16(b, Port)
	b = be.AppendUint32(b, c.seq)
	b = be.AppendUint32(b, c.ack)
	options := []byte{}
	if flags&syn != 0 {
		options = []byte{2, 4, mss >> 8, mss & 0xff}
	}
	b = append(b, byte(5+len(options)/4)<<4, flags, 0xff, 0xff, 0, 0, 0, 0)
	b = append(append(b, options...), payload...)
	p := ip6(protoTCP, Peer, Addr, 16, b)
	p[1] = ecn << 4 // no checksum covers it
	return p
}

// outTCP and outTCPSingle: what the host writes comes out, cut as it must be.
func (h *harness) outTCP()       { h.stream(h.batch(16, packet.RunSize), true) }
func (h *harness) outTCPSingle() { h.stream(h.batch(1, packet.DefaultSize), false) }

// outReset: an answer outside of any connection is whole as well.
func (h *harness) outReset() {
	h.needsStack()
	pkts := h.batch(4, packet.DefaultSize)
	c := &conn{h: h, seq: 1, ack: 1}
	h.write(single(c.segment(ack, 0, nil)))
	for b := h.read(pkts)[0]; b[6] != protoTCP || b[53]&rst == 0; b = h.read(pkts)[0] {
	}
}

func (h *harness) stream(pkts []packet.Packet, room bool) {
	c := h.connect(pkts)
	want := fill(1<<20, 3)
	go func() {
		rng := rand.New(rand.NewPCG(4, 4))
		for rest := want; len(rest) > 0; {
			n := min(1+rng.IntN(1<<rng.IntN(17)), len(rest))
			if _, err := c.host.Write(rest[:n]); err != nil {
				return // the suite finds out
			}
			rest = rest[n:]
		}
		if w, ok := c.host.(interface{ CloseWrite() error }); ok {
			_ = w.CloseWrite()
		}
	}()
	var got []byte
	runs, reduced, answer := 0, 0, byte(0)
	for end := false; !end; {
		for _, b := range h.read(pkts) {
			if b[6] != protoTCP {
				continue
			}
			payload := b[ip6Header+dataOffset(b):]
			if b[53]&cwr != 0 {
				reduced, answer = reduced+1, 0
			}
			if be.Uint32(b[44:]) != c.ack {
				continue // again, or not yet
			}
			got = append(got, payload...)
			c.ack += uint32(len(payload))
			if b[53]&fin != 0 {
				end = true
				c.ack++
			}
		}
		for i := range pkts {
			if pkts[i].Segment > 0 {
				runs++
			}
		}
		if c.ecn && answer == 0 && len(got)/100000 > reduced {
			answer = ece // as if the path had marked something
		}
		h.write(single(c.segment(ack|answer, 0, nil)))
	}
	if !bytes.Equal(got, want) {
		h.Errorf("%d bytes came, not the %d that the host wrote", len(got), len(want))
	}
	if runs == 0 && room && h.Runs {
		h.Error("no runs")
	}
	if c.ecn && reduced == 0 {
		h.Error("the host never said that it reduced its window: nothing is tested")
	}
	h.Logf("%d runs, ECN %v, CWR %d times", runs, c.ecn, reduced)
}

// inTCP: segments of all kinds, joined by the device or not, are the bytes that
// they carry.
func (h *harness) inTCP() {
	c := h.connect(h.batch(16, packet.RunSize))
	want := fill(1<<20, 5)
	result := make(chan error, 1)
	var got []byte
	go func() {
		var err error
		got, err = io.ReadAll(c.host)
		result <- err
	}()
	rng := rand.New(rand.NewPCG(6, 6))
	for rest := want; len(rest) > 0; {
		for c.una != c.seq || c.window == 0 {
			c.acknowledged()
		}
		flight := rest[:min(len(rest), c.window, 30000)]
		rest = rest[len(flight):]
		h.write(c.flight(rng, flight))
	}
	h.write(single(c.segment(fin|ack, 0, nil)))
	c.seq++
	for c.una != c.seq {
		c.acknowledged()
	}
	if err := <-result; err != nil || !bytes.Equal(got, want) {
		h.Errorf("the host read %d bytes, %v; not the %d that were sent", len(got), err, len(want))
	}
}

// flight makes segments of data: in runs and alone, with flags and marks, and
// damaged ones between them.
func (c *conn) flight(rng *rand.Rand, data []byte) (pkts []packet.Packet) {
	for len(data) > 0 {
		size := mss
		if rng.IntN(3) == 0 {
			size = 1 + rng.IntN(mss)
		}
		var run []byte
		for n := 1 + rng.IntN(12); n > 0 && len(data) > 0; n-- {
			payload := data[:min(size, len(data))]
			data = data[len(payload):]
			flags, mark := byte(ack), byte(0)
			if rng.IntN(8) == 0 {
				flags |= psh
			}
			if c.ecn {
				mark = 2 // ECT(0)
				if rng.IntN(20) == 0 {
					mark = 3 // congestion experienced
				}
				if rng.IntN(8) == 0 {
					flags |= cwr
				}
			}
			b := c.segment(flags, mark, payload)
			if rng.IntN(10) == 0 && len(payload) == size { // damaged, in front of what it was
				spoilt := bytes.Clone(b)
				spoilt[tcpHeader+len(payload)/2] ^= 0x10
				run = append(run, spoilt...)
			}
			run = append(run, b...)
			c.seq += uint32(len(payload))
		}
		p := single(run)
		if p[0].Segment = tcpHeader + size; p[0].Segment >= p[0].Len {
			p[0].Segment = 0
		}
		pkts = append(pkts, p...)
	}
	return pkts
}

// acknowledged waits for acknowledgements.
func (c *conn) acknowledged() {
	for _, b := range c.h.read(c.pkts) {
		if b[6] == protoTCP && b[53]&ack != 0 {
			c.una, c.window = be.Uint32(b[48:]), int(be.Uint16(b[54:]))
		}
	}
}
