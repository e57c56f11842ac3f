package packet

import (
	"bytes"
	"net/netip"
	"slices"
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

func TestDatagrams(t *testing.T) {
	for name, test := range map[string]struct {
		data    string
		segment int
		want    []string
	}{
		"one":              {"abc", 0, []string{"abc"}},
		"run":              {"abcdefg", 3, []string{"abc", "def", "g"}},
		"exact":            {"abcdef", 3, []string{"abc", "def"}},
		"shorter than one": {"ab", 3, []string{"ab"}},
	} {
		p := Packet{Buf: []byte("xx" + test.data), Off: 2, Len: len(test.data), Segment: test.segment}
		var got []string
		for d := range p.Datagrams() {
			got = append(got, string(d))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
		for range p.Datagrams() {
			break // must not go on
		}
	}
	p := Packet{Buf: make([]byte, 1000), Len: 1000, Segment: 100}
	n := 0
	if a := testing.AllocsPerRun(100, func() {
		for d := range p.Datagrams() {
			n += len(d)
		}
	}); a != 0 {
		t.Errorf("%v allocations", a)
	}
}
