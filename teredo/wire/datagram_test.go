package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"shipworm/teredo/wire"
)

var (
	clientA = addr("2001:0:cb00:7178:0:63be:39cc:9bf8")
	clientB = addr("2001:0:c633:6476:0:dfff:3fff:fdf5")
)

// chain makes an IPv6 packet out of a first next header and its payload.
func chain(next byte, payload ...byte) []byte {
	b := wire.AppendBubble(nil, clientA, clientB, 64)
	b[6] = next
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	return append(b, payload...)
}

// options returns a hop-by-hop or destination options header of 8 bytes.
func options(next byte, o ...byte) []byte {
	return append([]byte{next, 0}, append(o, make([]byte, 6-len(o))...)...)
}

func fragment(next byte, offset uint16) []byte {
	b := make([]byte, 8)
	b[0] = next
	binary.BigEndian.PutUint16(b[2:], offset<<3|1)
	return b
}

// T-21: every malformed datagram is refused, with its reason.
func TestParseRefused(t *testing.T) {
	bubble := wire.AppendBubble(nil, clientA, clientB, 64)
	auth := wire.AppendNonce(nil, [8]byte{1})
	origin := wire.AppendOrigin(nil, addrPort("192.0.2.1:4096"))
	long := append(slices.Clone(bubble), make([]byte, wire.MaxPacket-39)...)
	v4 := slices.Clone(bubble)
	v4[0] = 0x45
	short := slices.Clone(bubble)
	short[5] = 1
	for _, test := range []struct {
		name string
		b    []byte
		err  error
	}{
		{"empty", nil, wire.ErrShort},
		{"one byte", []byte{0x60}, wire.ErrShort},
		{"one zero", []byte{0}, wire.ErrHeader},
		{"39 bytes", bubble[:39], wire.ErrShort},
		{"too long", long, wire.ErrLong},
		{"IPv4", v4, wire.ErrHeader},
		{"IPv4 behind headers", slices.Concat(auth, v4), wire.ErrVersion},
		{"unknown header", slices.Concat([]byte{0, 2}, bubble), wire.ErrHeader},
		{"payload longer than datagram", short, wire.ErrLength},
		{"authentication only", auth, wire.ErrShort},
		{"authentication cut", auth[:12], wire.ErrShort},
		{"authentication lengths beyond the datagram", slices.Concat([]byte{0, 1, 255, 255}, bubble), wire.ErrShort},
		{"origin cut", origin[:7], wire.ErrShort},
		{"origin only", origin, wire.ErrShort},
		{"authentication twice", slices.Concat(auth, auth, bubble), wire.ErrOrder},
		{"origin twice", slices.Concat(origin, origin, bubble), wire.ErrOrder},
		{"origin before authentication", slices.Concat(origin, auth, bubble), wire.ErrOrder},
	} {
		t.Run(test.name, func(t *testing.T) {
			var d wire.Datagram
			err := wire.Parse(test.b, &d)
			var where *wire.ParseError
			if !errors.Is(err, test.err) || !errors.As(err, &where) {
				t.Errorf("got %v, want %v", err, test.err)
			}
		})
	}
}

func TestParseHeaders(t *testing.T) {
	bubble := wire.AppendBubble(nil, clientA, clientB, 64)
	auth, err := wire.AppendAuth(nil, &wire.Auth{ID: []byte("id"), Value: []byte("value"), Nonce: [8]byte{9}, Confirmation: 7})
	if err != nil {
		t.Fatal(err)
	}
	origin := wire.AppendOrigin(nil, addrPort("1.2.3.4:337"))
	if want := unhex(t, "0000 FEAE FEFDFCFB"); !bytes.Equal(origin, want) {
		t.Errorf("RFC 4380's origin example is %x, want %x", origin, want)
	}
	var d wire.Datagram
	if err := wire.Parse(slices.Concat(auth, origin, bubble, []byte{1, 2, 3}), &d); err != nil {
		t.Fatal(err)
	}
	if !d.HasAuth || string(d.Auth.ID) != "id" || string(d.Auth.Value) != "value" || d.Auth.Nonce[0] != 9 || d.Auth.Confirmation != 7 {
		t.Errorf("authentication %+v", d.Auth)
	}
	if d.Origin != addrPort("1.2.3.4:337") || !d.IPv6.IsBubble() || !bytes.Equal(d.Trailers, []byte{1, 2, 3}) {
		t.Errorf("origin %v, packet %x, trailers %x", d.Origin, d.IPv6, d.Trailers)
	}
	if err := wire.Parse(bubble, &d); err != nil || d.HasAuth || d.Origin.IsValid() || d.Trailers != nil {
		t.Errorf("reused: %+v, %v", d, err)
	}
	if _, err := wire.AppendAuth(nil, &wire.Auth{ID: make([]byte, 256)}); !errors.Is(err, wire.ErrUnencoding) {
		t.Errorf("long identifier: %v", err)
	}
}

// T-22: routing headers, jumbograms, long or broken chains and first fragments
// without their upper header are refused; honest chains are not.
func TestUpper(t *testing.T) {
	udp := make([]byte, 8)
	tcp := make([]byte, 20)
	jumbo := options(wire.ProtoUDP, 0xc2, 4, 0, 1)
	for _, test := range []struct {
		name string
		b    []byte
		want byte
		err  error
	}{
		{"UDP", chain(wire.ProtoUDP, udp...), wire.ProtoUDP, nil},
		{"bubble", chain(wire.ProtoNone), wire.ProtoNone, nil},
		{"hop-by-hop, destination, UDP", chain(0, slices.Concat(options(60), options(wire.ProtoUDP), udp)...), wire.ProtoUDP, nil},
		{"authentication header", chain(wire.ProtoAH, slices.Concat([]byte{wire.ProtoUDP, 1}, make([]byte, 10), udp)...), wire.ProtoUDP, nil},
		{"four extension headers", chain(0, slices.Concat(options(60), options(60), options(60), options(wire.ProtoUDP), udp)...), wire.ProtoUDP, nil},
		{"five extension headers", chain(0, slices.Concat(options(60), options(60), options(60), options(60), options(wire.ProtoUDP), udp)...), 0, wire.ErrExtension},
		{"first fragment", chain(wire.ProtoFragment, slices.Concat(fragment(wire.ProtoTCP, 0), tcp)...), wire.ProtoTCP, nil},
		{"later fragment", chain(wire.ProtoFragment, slices.Concat(fragment(wire.ProtoTCP, 1), tcp[:3])...), wire.ProtoFragment, nil},
		{"first fragment, header cut", chain(wire.ProtoFragment, slices.Concat(fragment(wire.ProtoTCP, 0), tcp[:19])...), 0, wire.ErrFragment},
		{"first fragment, nothing behind", chain(wire.ProtoFragment, fragment(wire.ProtoUDP, 0)...), 0, wire.ErrFragment},
		{"fragment in fragment", chain(wire.ProtoFragment, slices.Concat(fragment(wire.ProtoFragment, 0), fragment(wire.ProtoUDP, 0), udp)...), 0, wire.ErrExtension},
		{"routing header, type 0", chain(wire.ProtoRouting, slices.Concat([]byte{wire.ProtoUDP, 2, 0, 1}, make([]byte, 20), udp)...), 0, wire.ErrRouting},
		{"routing header, type 2", chain(wire.ProtoRouting, slices.Concat([]byte{wire.ProtoUDP, 2, 2, 1}, make([]byte, 20), udp)...), 0, wire.ErrRouting},
		{"routing header behind others", chain(0, slices.Concat(options(60), options(wire.ProtoRouting), make([]byte, 24))...), 0, wire.ErrRouting},
		{"routing header in a fragment", chain(wire.ProtoFragment, slices.Concat(fragment(wire.ProtoRouting, 0), make([]byte, 24))...), 0, wire.ErrRouting},
		{"jumbo option", chain(0, slices.Concat(jumbo, udp)...), 0, wire.ErrJumbo},
		{"jumbo, payload length 0", chain(0), 0, wire.ErrExtension},
		{"hop-by-hop not first", chain(60, slices.Concat(options(0), options(wire.ProtoUDP), udp)...), 0, wire.ErrExtension},
		{"chain ends early", chain(60, options(60)...), 0, wire.ErrExtension},
		{"options longer than packet", chain(60, wire.ProtoUDP, 1, 0, 0, 0, 0, 0, 0), 0, wire.ErrExtension},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := wire.CheckPacket(test.b)
			if !errors.Is(err, test.err) {
				t.Fatalf("got %v, want %v", err, test.err)
			}
			var d wire.Datagram
			if err := wire.Parse(test.b, &d); !errors.Is(err, test.err) {
				t.Errorf("Parse: %v, want %v", err, test.err)
			}
			if err != nil {
				return
			}
			if proto, at, _ := p.Upper(); proto != test.want || at > len(p) {
				t.Errorf("protocol %d at %d of %d, want %d", proto, at, len(p), test.want)
			}
		})
	}
}

func TestCheckPacket(t *testing.T) {
	good := chain(wire.ProtoUDP, make([]byte, 8)...)
	for name, b := range map[string][]byte{
		"short": good[:39], "cut": good[:47], "longer than its length": append(slices.Clone(good), 0), "IPv4": append([]byte{0x45}, good[1:]...),
	} {
		if _, err := wire.CheckPacket(b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// T-21: parsing allocates nothing, whether it succeeds or not.
func TestParseAllocates(t *testing.T) {
	for name, b := range vectors(t) {
		cut := b[:len(b)-1]
		if cut[0]>>4 == 6 && cut[5] == 0 {
			cut = cut[:39]
		}
		var d wire.Datagram
		var tr wire.Trailers
		var failed error
		allocs := testing.AllocsPerRun(100, func() {
			if wire.Parse(b, &d) != nil || wire.ParseTrailers(d.Trailers, &tr) != nil {
				t.Error("refused")
			}
			_ = d.IPv6.Source()
			failed = wire.Parse(cut, &d)
		})
		if failed == nil {
			t.Errorf("%s: accepted though cut", name)
		}
		if allocs != 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	data := chain(wire.ProtoUDP, make([]byte, 1240)...)
	var d wire.Datagram
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := wire.Parse(data, &d); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzParse: no input panics, and what is accepted adds up to the input again.
func FuzzParse(f *testing.F) {
	for _, b := range vectors(f) {
		f.Add(b)
	}
	f.Add(chain(0, slices.Concat(options(60), options(wire.ProtoFragment), fragment(wire.ProtoUDP, 0), make([]byte, 8))...))
	f.Fuzz(func(t *testing.T, b []byte) {
		var d wire.Datagram
		if wire.Parse(b, &d) != nil {
			return
		}
		if again := rebuild(t, &d); !bytes.Equal(again, b) {
			t.Errorf("%x rebuilt as %x", b, again)
		}
		if len(d.IPv6) < wire.HeaderSize || len(d.IPv6)+len(d.Trailers) > wire.MaxPacket {
			t.Errorf("accepted a packet of %d bytes", len(d.IPv6))
		}
		if _, at, err := d.IPv6.Upper(); err != nil || at > len(d.IPv6) {
			t.Errorf("upper header at %d, %v", at, err)
		}
		var tr wire.Trailers
		_ = wire.ParseTrailers(d.Trailers, &tr)
	})
}

// TestContinues: a flow ends with any other address, port or protocol, and at
// what is not whole; length and the rest of the headers may change.
func TestContinues(t *testing.T) {
	first := make(wire.Packet, 100)
	first[0], first[5], first[6] = 0x60, 60, wire.ProtoTCP
	for at := range 60 {
		b := bytes.Clone(first)
		b[at] ^= 1
		same := at < 4 || at == 7 || at >= 44
		if first.Continues(b) != same {
			t.Errorf("byte %d changed: %v", at, !same)
		}
	}
	longer := append(bytes.Clone(first), 1)
	longer[5]++
	if !first.Continues(longer) || first.Continues(longer[:100]) || first.Continues(first[:43]) || first[:43].Continues(first) {
		t.Error("wrong about lengths")
	}
}
