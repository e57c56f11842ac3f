package packet

import (
	"bytes"
	"net/netip"
	"testing"
)

func TestBatchBuffersAreApart(t *testing.T) {
	pkts := NewBatch(4, 16)
	for i := range pkts {
		if len(pkts[i].Buf) != 16 || cap(pkts[i].Buf) != 16 {
			t.Fatalf("packet %d: len %d cap %d, want 16 and 16", i, len(pkts[i].Buf), cap(pkts[i].Buf))
		}
		for j := range pkts[i].Buf {
			pkts[i].Buf[j] = byte(i)
		}
		pkts[i].Off, pkts[i].Len = 4, 8
	}
	for i := range pkts {
		if want := bytes.Repeat([]byte{byte(i)}, 8); !bytes.Equal(pkts[i].Data(), want) {
			t.Errorf("packet %d holds %x, want %x", i, pkts[i].Data(), want)
		}
	}
}

func TestSetIsAView(t *testing.T) {
	b := []byte("datagram")
	to := netip.MustParseAddrPort("192.0.2.1:3544")
	p := Packet{Off: 3, Segment: 9}
	p.Set(b, to)
	b[0] = 'D'
	if string(p.Data()) != "Datagram" || p.Addr != to || p.Segment != 0 {
		t.Errorf("got %q to %v, segment %d", p.Data(), p.Addr, p.Segment)
	}
}
