package lab

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"shipworm/testnet/internal/ip"
	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/nat"
)

var (
	offloadSrc = netip.MustParseAddr("192.168.1.2")
	offloadDst = netip.MustParseAddr("203.0.113.1")
)

// superPacket returns what a kernel gives for payload bytes cut every segment:
// a packet whose checksum is only begun.
func superPacket(proto byte, payload, segment int) ([]byte, vnetHeader) {
	body := []byte{0x9c, 0x40, 0, 80} // ports 40000 and 80
	h := vnetHeader{flags: vnetNeedsChecksum, checksumStart: ipv4.HeaderLen, segment: uint16(segment)}
	at := 6
	if proto == ipv4.TCP {
		at = 16
		// Sequence number just before its wrap; 12 bytes of options; CWR, ACK,
		// PSH, FIN.
		body = append(body, 0xff, 0xff, 0xff, 0x00, 0, 0, 0, 1, 8<<4, 0x99, 1, 0, 0, 0, 0, 0,
			1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2)
		h.gsoType = gsoTCP4 | gsoECN
	} else {
		body = be.AppendUint16(body, uint16(8+payload))
		body = append(body, 0, 0)
		h.gsoType = gsoUDP
	}
	headers := ipv4.HeaderLen + len(body)
	for i := range payload {
		body = append(body, byte(i*7))
	}
	pkt := []byte{0x45, 0, 0, 0, 0xff, 0xff, 0x40, 0, 64, proto, 0, 0}
	src, dst := offloadSrc.As4(), offloadDst.As4()
	pkt = append(append(append(pkt, src[:]...), dst[:]...), body...)
	be.PutUint16(pkt[2:], uint16(len(pkt)))
	be.PutUint16(pkt[10:], ^ipv4.Fold(ipv4.Sum(pkt[:ipv4.HeaderLen], 0)))
	be.PutUint16(pkt[ipv4.HeaderLen+at:], pseudoSum(pkt, ipv4.HeaderLen))
	if payload <= segment {
		h.gsoType, h.segment = gsoNone, 0
	}
	h.checksumAt, h.headerLen = uint16(at), uint16(headers)
	return pkt, h
}

var offloadCases = []struct {
	name             string
	proto            byte
	payload, segment int
	packets          int
}{
	{"TCP without payload", ipv4.TCP, 0, 1448, 1},
	{"TCP packet", ipv4.TCP, 1000, 1448, 1},
	{"TCP, equal segments", ipv4.TCP, 3 * 1448, 1448, 3},
	{"TCP, short tail", ipv4.TCP, 2*1448 + 1, 1448, 3},
	{"TCP, odd segments", ipv4.TCP, 5000, 999, 6},
	{"TCP, 64 KiB", ipv4.TCP, 65000, 1448, 45},
	{"UDP datagram", ipv4.UDP, 100, 1200, 1},
	{"UDP, equal datagrams", ipv4.UDP, 4800, 1200, 4},
	{"UDP, short tail", ipv4.UDP, 1201, 1200, 2},
}

// What comes out of finish are packets that a wire could carry, and together
// they are what the program sent.
func TestFinish(t *testing.T) {
	for _, tt := range offloadCases {
		t.Run(tt.name, func(t *testing.T) {
			pkt, h := superPacket(tt.proto, tt.payload, tt.segment)
			headers := int(h.headerLen)
			want := bytes.Clone(pkt[headers:])
			var got []byte
			n := 0
			_, ok := h.finish(pkt, nil, func(p []byte) {
				p, header, ok := ipv4.Check(p)
				if !ok || !ipv4.TransportOK(p, header) {
					t.Fatalf("packet %d: bad checksum: %x", n, p[:min(len(p), headers)])
				}
				if id := be.Uint16(p[4:]); id != uint16(0xffff+n) {
					t.Errorf("packet %d: identification %#x", n, id)
				}
				last := len(got)+len(p)-headers == len(want)
				if tt.proto == ipv4.TCP {
					flags := byte(0x10)
					if n == 0 {
						flags |= 0x80
					}
					if last {
						flags |= 0x09
					}
					if p[header+13] != flags {
						t.Errorf("packet %d: flags %#x, want %#x", n, p[header+13], flags)
					}
					if seq := be.Uint32(p[header+4:]); seq != 0xffffff00+uint32(len(got)) {
						t.Errorf("packet %d: sequence number %#x after %d bytes", n, seq, len(got))
					}
				}
				got = append(got, p[headers:]...)
				n++
			})
			if !ok || n != tt.packets || !bytes.Equal(got, want) {
				t.Errorf("%v, %d packets, payload equal %v; want %d packets", ok, n, bytes.Equal(got, want), tt.packets)
			}
		})
	}
}

// A super-packet that crosses a NAT in one piece is, once finished, the same
// as its packets each translated.
func TestUnfinishedThroughNAT(t *testing.T) {
	for _, tt := range offloadCases {
		t.Run(tt.name, func(t *testing.T) {
			translate := func() func([]byte) {
				cfg, _ := nat.Profile("symmetric")
				cfg.External = []netip.Addr{netip.MustParseAddr("198.51.100.10")}
				cfg.Seed = 1
				n, err := nat.New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				return func(p []byte) {
					if v := n.Outbound(time.Unix(0, 0), p); v.Action != nat.Forward {
						t.Fatal(v.Reason)
					}
				}
			}
			collect := func(h vnetHeader, pkt []byte, each func([]byte)) (all [][]byte) {
				if _, ok := h.finish(pkt, nil, func(p []byte) {
					each(p)
					all = append(all, bytes.Clone(p))
				}); !ok {
					t.Fatal("refused")
				}
				return all
			}
			pkt, h := superPacket(tt.proto, tt.payload, tt.segment)
			want := collect(h, pkt, translate())
			pkt, h = superPacket(tt.proto, tt.payload, tt.segment)
			translate()(pkt)
			after := h.unfinished(pkt)
			got := collect(after, pkt, func([]byte) {})
			if len(got) != len(want) {
				t.Fatalf("%d packets, want %d", len(got), len(want))
			}
			for i := range want {
				if !bytes.Equal(got[i], want[i]) {
					t.Errorf("packet %d:\n%x, want\n%x", i, got[i][:48], want[i][:48])
				}
			}
		})
	}
}

// A packet that needed nothing keeps the checksum that it came with, be it
// right or wrong.
func TestUnfinishedLeavesFinished(t *testing.T) {
	pkt, _ := superPacket(ipv4.UDP, 100, 1200)
	before := bytes.Clone(pkt)
	none := vnetHeader{}
	if got := none.unfinished(pkt); got != none || !bytes.Equal(pkt, before) {
		t.Errorf("header %+v, packet changed: %v", got, !bytes.Equal(pkt, before))
	}
}

// The hot path allocates nothing.
func TestUnfinishedAllocates(t *testing.T) {
	pkt, h := superPacket(ipv4.TCP, 65000, 1448)
	var b [vnetHeaderLen]byte
	if n := testing.AllocsPerRun(100, func() {
		out := h.unfinished(pkt)
		out.put(b[:])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// No header makes finish panic, run for ever or emit what is not a packet.
func FuzzFinish(f *testing.F) {
	for _, tt := range offloadCases {
		for _, super := range []func(byte, int, int) ([]byte, vnetHeader){superPacket, superPacket6} {
			pkt, h := super(tt.proto, min(tt.payload, 3000), tt.segment)
			var b [vnetHeaderLen]byte
			h.put(b[:])
			f.Add(b[:], pkt)
		}
	}
	f.Fuzz(func(t *testing.T, header, pkt []byte) {
		if len(header) < vnetHeaderLen {
			return
		}
		var h vnetHeader
		h.parse(header)
		var again [vnetHeaderLen]byte
		h.put(again[:])
		if !bytes.Equal(again[:], header[:vnetHeaderLen]) {
			t.Errorf("%x became %x", header[:vnetHeaderLen], again)
		}
		untouched := h.flags&vnetNeedsChecksum == 0 && h.gsoType == gsoNone
		h.finish(pkt, nil, func(p []byte) {
			if untouched {
				return
			}
			if !ip.ChecksumsOK(p) {
				t.Errorf("emitted %x", p)
			}
		})
		h.unfinished(pkt)
	})
}
