package devicetest

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"slices"

	"shipworm/teredo/packet"
)

// inSizes: the host gets datagrams of every size, alone and many at a time.
func (h *harness) inSizes() {
	if n, err := h.Device.WriteBatch(nil); n != 0 || err != nil {
		h.Errorf("WriteBatch of no packets = %d, %v", n, err)
	}
	var all []packet.Packet
	for i, n := range sizes {
		p := single(h.toHost(fill(n, uint64(i))))
		all = append(all, single(p[0].Data())...)
		if taken := h.write(p); taken != 1 {
			h.Fatalf("%d bytes: %d taken", n, taken)
		}
		h.expect(fill(n, uint64(i)))
	}
	if taken := h.write(all); taken != len(all) {
		h.Errorf("%d of %d taken", taken, len(all))
	}
	for i, n := range sizes {
		h.expect(fill(n, uint64(i)))
	}
}

// inFragments: the host puts together what comes in pieces.
func (h *harness) inFragments() {
	h.needsStack()
	for i, n := range []int{1233, 5000, 30000} {
		want := fill(n, uint64(i))
		h.write(single(fragments(h.toHost(want), 1280, uint32(i))...))
		h.expect(want)
	}
}

// inMixed: runs, single packets and what must not come in, all in one batch: the
// host gets the good ones, each once, in order, and nobody else's.
func (h *harness) inMixed() {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 9))
		var pkts []packet.Packet
		var want [][]byte
		all := 0
		for len(want) < 60 { // as many as a socket of the kernel's holds
			switch rng.IntN(3) {
			case 0: // a run, the last of which may be shorter
				n, size := 2+rng.IntN(15), rng.IntN(1200)
				var run []byte
				for k := range n {
					if k == n-1 {
						size = rng.IntN(size + 1)
					}
					payload := fill(size, rng.Uint64())
					want = append(want, payload)
					run = append(run, h.toHost(payload)...)
				}
				p := single(run)
				p[0].Segment = udpHeader + len(want[len(want)-2])
				pkts, all = append(pkts, p...), all+n
			case 1:
				payload := fill(rng.IntN(1233), rng.Uint64())
				want = append(want, payload)
				pkts, all = append(pkts, single(h.toHost(payload))...), all+1
			case 2:
				pkts, all = append(pkts, single(h.bad(rng))...), all+1
			}
		}
		if taken := h.write(pkts); taken < len(want) || taken > all {
			h.Errorf("seed %d: %d taken of %d, %d of them good", seed, taken, all, len(want))
		}
		for _, w := range want {
			h.expect(w)
		}
	}
}

// bad makes a packet that does not belong to the host's socket, or that is none.
func (h *harness) bad(rng *rand.Rand) []byte {
	good := h.toHost(fill(500, rng.Uint64()))
	mend := func(at int, with byte) []byte { good[at] = with; return good }
	kinds := []func() []byte{
		func() []byte { return nil },
		func() []byte { return good[:1] },
		func() []byte { return good[:39] },
		func() []byte { return mend(0, 0x45) },
		func() []byte { return good[:len(good)-1] },
		func() []byte { return append(good, 0) },
		func() []byte { return mend(len(good)-1, ^good[len(good)-1]) },
		func() []byte { return mend(45, good[45]+1) }, // UDP length
		func() []byte { return udp6(h.peer, netip.AddrPortFrom(Addr.Next(), Port), nil) },
		func() []byte { return udp6(h.peer, netip.AddrPortFrom(netip.MustParseAddr("ff02::1"), Port), nil) },
		func() []byte { return udp6(h.peer, netip.AddrPortFrom(Addr, Port+1), nil) },
		func() []byte { // nothing behind the header: 40 bytes
			b := slices.Clip(good[:ip6Header])
			b[4], b[5], b[6] = 0, 0, 59
			return b
		},
		func() []byte { b := make([]byte, 65535); copy(b, good); return b },
		func() []byte { b := append(good, make([]byte, 1<<17)...); return b }, // longer than any packet
		func() []byte { // a neighbour solicitation
			b := bytes.Clone(good[:ip6Header+24])
			b[5], b[6], b[7], b[40], b[41] = 24, 58, 255, 135, 0
			return b
		},
	}
	return kinds[rng.IntN(len(kinds))]()
}
