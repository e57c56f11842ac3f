package lab

import (
	"bytes"
	"testing"

	"shipworm/testnet/internal/ipv4"
)

// segments are the packets of a super-packet, without CWR and FIN.
func segments(t *testing.T, payload, segment int) (all [][]byte) {
	t.Helper()
	pkt, h := superPacket(ipv4.TCP, payload, segment)
	pkt[ipv4.HeaderLen+13] = tcpACK | tcpPSH
	if _, ok := h.finish(pkt, nil, func(p []byte) { all = append(all, bytes.Clone(p)) }); !ok {
		t.Fatal("refused")
	}
	return all
}

// A run, finished again, gives the packets that it was made of.
func TestRunRoundTrip(t *testing.T) {
	for _, payload := range []int{1, 1448, 1449, 3 * 1448, 5000, 60000} {
		want := segments(t, payload, 1448)
		var r run
		for round := range 2 { // the buffer is used again
			for i, p := range want {
				p = append(bytes.Clone(p), 0, 0) // link padding
				if i == 0 && !r.start(p) || i > 0 && !r.add(p) {
					t.Fatalf("%d bytes, round %d: segment %d refused", payload, round, i)
				}
			}
			if r.add(want[0]) {
				t.Errorf("%d bytes: went on after the push", payload)
			}
			h, pkt := r.take()
			var got [][]byte
			if _, ok := h.finish(pkt, nil, func(p []byte) { got = append(got, bytes.Clone(p)) }); !ok || len(got) != len(want) {
				t.Fatalf("%d bytes: %v, %d packets of %d", payload, ok, len(got), len(want))
			}
			for i := range want {
				if !bytes.Equal(got[i], want[i]) {
					t.Errorf("%d bytes, packet %d:\n%x, want\n%x", payload, i, got[i][:52], want[i][:52])
				}
			}
		}
	}
}

// mended gives p right checksums again.
func mended(p []byte) []byte {
	be.PutUint16(p[10:], 0)
	be.PutUint16(p[10:], ^ipv4.Fold(ipv4.Sum(p[:ipv4.HeaderLen], 0)))
	setChecksum(p, ipv4.HeaderLen, 16)
	return p
}

func TestRunRefuses(t *testing.T) {
	const tcp = ipv4.HeaderLen
	tests := []struct {
		name   string
		change func(p []byte) []byte
	}{
		{"wrong checksum", func(p []byte) []byte { p[len(p)-1]++; return p }},
		{"traffic class", func(p []byte) []byte { p[1] = 3; return mended(p) }},
		{"time to live", func(p []byte) []byte { p[8]--; return mended(p) }},
		{"source", func(p []byte) []byte { p[15]++; return mended(p) }},
		{"port", func(p []byte) []byte { p[tcp+1]++; return mended(p) }},
		{"a gap", func(p []byte) []byte { p[tcp+7]++; return mended(p) }},
		{"acknowledgement", func(p []byte) []byte { p[tcp+11]++; return mended(p) }},
		{"window", func(p []byte) []byte { p[tcp+15]++; return mended(p) }},
		{"options", func(p []byte) []byte { p[tcp+31]++; return mended(p) }},
		{"FIN", func(p []byte) []byte { p[tcp+13] |= 1; return mended(p) }},
		{"UDP", func(p []byte) []byte { p[9] = ipv4.UDP; return mended(p) }},
		{"longer", func(p []byte) []byte {
			p = append(p, 0)
			be.PutUint16(p[2:], uint16(len(p)))
			return mended(p)
		}},
		{"no payload", func(p []byte) []byte {
			p = p[:tcp+32]
			be.PutUint16(p[2:], uint16(len(p)))
			return mended(p)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			all := segments(t, 4*1448, 1448)
			var r run
			if !r.start(all[0]) {
				t.Fatal("first segment refused")
			}
			if !r.add(all[1]) {
				t.Fatal("second segment refused")
			}
			if r.add(tt.change(bytes.Clone(all[2]))) {
				t.Error("accepted")
			}
			if !r.add(all[2]) {
				t.Error("the run was harmed")
			}
		})
	}
	t.Run("more than a packet can hold", func(t *testing.T) {
		all := segments(t, 65000, 1448)
		var r run
		r.start(all[0])
		for r.add(all[1]) {
			all[1] = bytes.Clone(all[1])
			be.PutUint32(all[1][tcp+4:], r.next)
			mended(all[1])
		}
		if _, pkt := r.take(); len(pkt) > 65535 || len(pkt) < 65535-1500 {
			t.Errorf("%d bytes", len(pkt))
		}
	})
}

// The hot path allocates nothing.
func TestRunAllocates(t *testing.T) {
	all := segments(t, 4*1448, 1448)
	var r run
	r.start(all[0])
	if n := testing.AllocsPerRun(100, func() {
		r.start(all[0])
		r.add(all[1])
		r.take()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Whatever arrives, a run is as whole and right as the packets that it took.
func FuzzRun(f *testing.F) {
	pkt, h := superPacket(ipv4.TCP, 3*1448, 1448)
	pkt[ipv4.HeaderLen+13] = tcpACK
	var all [][]byte
	h.finish(pkt, nil, func(p []byte) { all = append(all, bytes.Clone(p)) })
	f.Add(all[0], all[1])
	f.Add(all[1], all[2])
	f.Add(all[0], []byte{})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var r run
		if !r.start(a) {
			return
		}
		want := 1
		if r.add(b) {
			want++
		}
		h, pkt := r.take()
		n := 0
		if _, ok := h.finish(pkt, nil, func(p []byte) {
			n++
			if p, header, ok := ipv4.Check(p); !ok || !ipv4.TransportOK(p, header) {
				t.Errorf("%x", p)
			}
		}); !ok || n != want {
			t.Errorf("%v, %d packets, want %d", ok, n, want)
		}
	})
}
