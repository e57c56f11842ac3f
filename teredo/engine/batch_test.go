package engine_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"shipworm/teredo/engine"
	units "shipworm/teredo/packet"
	"shipworm/teredo/wire"
)

// arrival is a datagram on its way in.
type arrival struct {
	from netip.AddrPort
	data []byte
}

// mixed returns datagrams of a few flows, in runs that are broken by all that a
// receiver must not overlook behind a good packet.
func mixed(rng *rand.Rand, srcs, dsts []netip.Addr, froms []netip.AddrPort) (all []arrival) {
	for len(all) < 60 {
		src, dst, from := rng.IntN(len(srcs)), dsts[rng.IntN(len(dsts))], 0
		if from = src; rng.IntN(8) == 0 {
			from = rng.IntN(len(froms))
		}
		good := tcp(srcs[src], dst, 100+rng.IntN(3)*600)
		for range 1 + rng.IntN(8) {
			b := bytes.Clone(good)
			if rng.IntN(3) == 0 {
				b = spoiled(rng, b, srcs, dsts)
			}
			all = append(all, arrival{froms[from], b})
		}
	}
	return all
}

func tcp(src, dst netip.Addr, size int) []byte {
	b := udp(src, dst, size)
	b[6] = wire.ProtoTCP
	return b
}

// spoiled returns b with something changed.
func spoiled(rng *rand.Rand, b []byte, srcs, dsts []netip.Addr) []byte {
	switch rng.IntN(12) {
	case 0:
		b[0] = byte(rng.Uint32())
	case 1:
		b[5]++
	case 2:
		b[5]-- // a trailer of one byte
	case 3:
		b[6] = []byte{wire.ProtoUDP, wire.ProtoICMPv6, wire.ProtoRouting, wire.ProtoFragment, wire.ProtoNone}[rng.IntN(5)]
	case 4:
		b[7] = byte(rng.IntN(3))
	case 5:
		ip := srcs[rng.IntN(len(srcs))].As16()
		copy(b[8:], ip[:])
	case 6:
		ip := dsts[rng.IntN(len(dsts))].As16()
		copy(b[24:], ip[:])
	case 7:
		b[8+rng.IntN(32)]++
	case 8:
		b[40+rng.IntN(4)]++
	case 9:
		b = b[:rng.IntN(len(b)+1)]
	case 10:
		return wire.AppendBubble(nil, netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40])), 64)
	case 11:
		b = append(b, make([]byte, 200+rng.IntN(900))...)
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-wire.HeaderSize))
	}
	return b
}

// batched packs datagrams as a socket may: neighbours of one sender and one
// length, and a shorter last one, as runs.
func batched(rng *rand.Rand, all []arrival) (pkts []units.Packet) {
	for len(all) > 0 {
		n, run := 1, bytes.Clone(all[0].data)
		size := len(run)
		for n < len(all) && all[n].from == all[0].from && len(all[n].data) <= size && len(all[n].data) > 0 && rng.IntN(6) > 0 {
			run = append(run, all[n].data...)
			n++
			if len(all[n-1].data) < size {
				break
			}
		}
		var p units.Packet
		p.Set(run, all[0].from)
		if n > 1 {
			p.Segment = size
		}
		pkts, all = append(pkts, p), all[n:]
	}
	return pkts
}

// outcome is all that a machine says.
func outcome(out *engine.Output, state any) string {
	var s bytes.Buffer
	for _, t := range out.Transmit {
		fmt.Fprintf(&s, "to %v: %d %x\n", t.To, t.Segment, t.Payload)
	}
	for _, d := range out.Deliver {
		fmt.Fprintf(&s, "deliver %x\n", d)
	}
	fmt.Fprintf(&s, "%v\n%+v\n", out.Events, state)
	return s.String()
}

// TestReceiveBatch: packets and runs of all kinds fare in a batch as they would
// one by one: T-04, T-22, T-23 and T-24 hold for each of a run.
func TestReceiveBatch(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		up, other, stranger := addrPort("198.51.100.9:7000"), addrPort("198.51.100.10:7001"), addrPort("198.51.100.11:7002")
		srcs := []netip.Addr{peerAt(up), peerAt(other), peerAt(stranger), native}
		froms := []netip.AddrPort{up, other, stranger, relay}
		var said [2]string
		var all []arrival
		var pkts []units.Packet
		for i := range said {
			r := qualifiedRig(t)
			r.connect(srcs[0], up)
			r.connect(srcs[1], other)
			if i == 0 {
				all = mixed(rng, srcs, []netip.Addr{r.own, r.own, r.own, srcs[0]}, froms)
				pkts = batched(rng, all)
			}
			r.out.Reset()
			if i == 0 {
				for _, a := range all {
					r.c.Receive(r.now, a.from, bytes.Clone(a.data), &r.out)
				}
			} else {
				r.c.ReceiveBatch(r.now, pkts, &r.out)
			}
			said[i] = outcome(&r.out, r.c.Snapshot())
		}
		if said[0] != said[1] {
			t.Fatalf("seed %d: one by one\n%s\nin a batch\n%s", seed, said[0], said[1])
		}
	}
}

// TestRelayReceiveBatch: the same of a relay, whose peers are up, only matched,
// or unknown. T-04, T-24, T-30.
func TestRelayReceiveBatch(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 2))
		up, matched, stranger := addrPort("198.51.100.9:7000"), addrPort("198.51.100.10:7001"), addrPort("198.51.100.11:7002")
		srcs := []netip.Addr{peerAt(up), peerAt(matched), peerAt(stranger)}
		all := mixed(rng, srcs, []netip.Addr{native, native, addr("2001:db8:1::81"), addr("2001:db8:9::1"), srcs[0]}, []netip.AddrPort{up, matched, stranger})
		pkts := batched(rng, all)
		var said [2]string
		for i := range said {
			r := newRelay(t, nil)
			r.connect(srcs[0], up)
			r.send(udp(native, srcs[1], 100))
			r.receive(matched, udp(srcs[1], native, 200))
			r.out.Reset()
			if i == 0 {
				for _, a := range all {
					r.r.Receive(r.now, a.from, bytes.Clone(a.data), &r.out)
				}
			} else {
				r.r.ReceiveBatch(r.now, pkts, &r.out)
			}
			for range 60 { // as far as the credit goes
				r.r.Send(r.now, udp(native, srcs[1], 300), &r.out)
			}
			said[i] = outcome(&r.out, r.r.Snapshot())
		}
		if said[0] != said[1] {
			t.Fatalf("seed %d: one by one\n%s\nin a batch\n%s", seed, said[0], said[1])
		}
	}
}

// TestRelaySendRun: what goes out in runs is what would go out packet by packet,
// to peers that are up, only matched, or unknown. T-29, T-30.
func TestRelaySendRun(t *testing.T) {
	whole := 0
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 3))
		up, matched, stranger := addrPort("198.51.100.9:7000"), addrPort("198.51.100.10:7001"), addrPort("198.51.100.11:7002")
		dsts := []netip.Addr{peerAt(up), peerAt(matched), peerAt(stranger)}
		all := mixed(rng, []netip.Addr{native, addr("2001:db8:1::81"), addr("2001:db8:9::1")}, dsts, []netip.AddrPort{up, up, up})
		pkts := batched(rng, all)
		var said [2]string
		for i := range said {
			r := newRelay(t, nil)
			r.connect(dsts[0], up)
			r.send(udp(native, dsts[1], 100))
			r.receive(matched, udp(dsts[1], native, 200))
			r.out.Reset()
			if i == 0 {
				for _, a := range all {
					r.r.Send(r.now, bytes.Clone(a.data), &r.out)
				}
			} else {
				for _, p := range pkts {
					r.r.SendRun(r.now, p.Data(), p.Segment, &r.out)
				}
				var single []engine.Transmit
				for _, x := range r.out.Transmit {
					if x.Segment > 0 {
						whole++
					}
					for x.Segment > 0 && len(x.Payload) > x.Segment {
						one := x
						one.Payload, x.Payload = x.Payload[:x.Segment], x.Payload[x.Segment:]
						one.Segment = 0
						single = append(single, one)
					}
					x.Segment = 0
					single = append(single, x)
				}
				r.out.Transmit = slices.Clone(single)
			}
			said[i] = outcome(&r.out, r.r.Snapshot())
		}
		if said[0] != said[1] {
			t.Fatalf("seed %d: one by one\n%s\nin runs\n%s", seed, said[0], said[1])
		}
	}
	if whole < 100 {
		t.Errorf("%d runs went whole", whole)
	}
}
