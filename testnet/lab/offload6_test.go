package lab

import (
	"bytes"
	"net/netip"
	"testing"

	"shipworm/testnet/internal/ip"
	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/internal/ipv6"
)

// superPacket6 is superPacket for IPv6.
func superPacket6(proto byte, payload, segment int) ([]byte, vnetHeader) {
	from, to := netip.MustParseAddrPort("[2001:db8:a::2]:40000"), netip.MustParseAddrPort("[2001:db8::1]:80")
	data := make([]byte, payload)
	for i := range data {
		data[i] = byte(i * 7)
	}
	h := vnetHeader{flags: vnetNeedsChecksum, checksumStart: ipv6.HeaderLen, segment: uint16(segment)}
	var pkt []byte
	if proto == ipv4.TCP {
		pkt = ipv6.AppendTCP(nil, from, to, tcpACK|tcpPSH, data)
		h.checksumAt, h.headerLen, h.gsoType = 16, ipv6.HeaderLen+20, gsoTCP6
	} else {
		pkt = ipv6.AppendUDP(nil, from, to, data)
		h.checksumAt, h.headerLen, h.gsoType = 6, ipv6.HeaderLen+8, gsoUDP
	}
	be.PutUint16(pkt[ipv6.HeaderLen+int(h.checksumAt):], pseudoSum(pkt, ipv6.HeaderLen))
	if payload <= segment {
		h.gsoType, h.segment = gsoNone, 0
	}
	return pkt, h
}

// finish makes of IPv6 what a wire could carry; a run makes one piece of it
// again; and on the way nothing is lost but the marks of a run.
func TestOffload6(t *testing.T) {
	for _, tt := range offloadCases {
		pkt, h := superPacket6(tt.proto, tt.payload, tt.segment)
		headers := int(h.headerLen)
		var got, data [][]byte
		if _, ok := h.finish(bytes.Clone(pkt), nil, func(p []byte) { got = append(got, bytes.Clone(p)) }); !ok || len(got) != tt.packets {
			t.Fatalf("%s: %v, %d packets, want %d", tt.name, ok, len(got), tt.packets)
		}
		var r run
		runs := tt.proto == ipv4.TCP && tt.payload > 0
		for i, p := range got {
			if !ip.ChecksumsOK(p) || len(p) != ipv6.HeaderLen+int(be.Uint16(p[4:])) {
				t.Errorf("%s: packet %d is not right: %x", tt.name, i, p[:headers])
			}
			data = append(data, p[headers:])
			if runs && (i == 0 && !r.start(p) || i > 0 && !r.add(p)) {
				t.Errorf("%s: packet %d is not part of a run", tt.name, i)
			}
		}
		if !bytes.Equal(bytes.Join(data, nil), pkt[headers:]) {
			t.Errorf("%s: other data", tt.name)
		}
		if after := h.unfinished(bytes.Clone(pkt)); after.gsoType != h.gsoType || after.checksumStart != h.checksumStart || after.segment != h.segment {
			t.Errorf("%s: %+v after the world, %+v before", tt.name, after, h)
		}
		if !runs {
			continue
		}
		hdr, whole := r.take()
		if tt.packets > 1 && !bytes.Equal(whole, pkt) || tt.packets > 1 && hdr.gsoType != gsoTCP6 {
			t.Errorf("%s: a run gives %+v %x, want %x", tt.name, hdr, whole[:headers], pkt[:headers])
		}
	}
	p, _ := superPacket6(ipv4.TCP, 100, 1000)
	setChecksum(p, ipv6.HeaderLen, 16)
	var r run
	if !r.start(p) {
		t.Fatal("no run")
	}
	for name, at := range map[string]int{"flow label": 3, "hop limit": 7, "source": 20, "destination": 39, "port": 41, "acknowledgement": 48, "window": 55} {
		q := bytes.Clone(p)
		be.PutUint32(q[ipv6.HeaderLen+4:], 100)
		q[at] ^= 1
		setChecksum(q, ipv6.HeaderLen, 16)
		r.ended = false
		if r.add(q) {
			t.Errorf("another %s is taken for the same connection", name)
		}
	}
}
