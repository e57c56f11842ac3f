package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"shipworm/teredo/wire"
)

// reseal repairs the checksum of an ICMPv6 packet that was changed.
func reseal(b []byte) []byte {
	p := wire.Packet(b)
	b[42], b[43] = 0, 0
	sum := wire.ChecksumICMPv6(p.Source(), p.Destination(), p.Payload())
	binary.BigEndian.PutUint16(b[42:], sum)
	return b
}

// mutate copies b, changes it and repairs the checksum.
func mutate(b []byte, change func([]byte) []byte) []byte {
	return reseal(change(slices.Clone(b)))
}

func set(at int, v byte) func([]byte) []byte {
	return func(b []byte) []byte { b[at] = v; return b }
}

// lengthen appends to the payload.
func lengthen(tail ...byte) func([]byte) []byte {
	return func(b []byte) []byte {
		b = append(b, tail...)
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-wire.HeaderSize))
		return b
	}
}

// The checksums are the constants that other implementations precomputed.
func TestSolicitationChecksum(t *testing.T) {
	for src, want := range map[string]uint16{
		"fe80::8000:5445:5245:444f": 0x125d, "fe80::ffff:ffff:ffff": 0x7d37, "fe80::ffff:ffff:fffe": 0x7d38,
	} {
		b := wire.AppendSolicitation(nil, addr(src))
		if got := binary.BigEndian.Uint16(b[42:]); got != want {
			t.Errorf("%s: %#x, want %#x", src, got, want)
		}
	}
}

func TestSolicitationRefused(t *testing.T) {
	good := wire.AppendSolicitation(nil, wire.ClientLinkLocal(false))
	if err := wire.CheckSolicitation(mutate(good, lengthen(1, 1, 0, 0, 0, 0, 0, 0))); err != nil {
		t.Errorf("with a source link-layer option: %v", err)
	}
	bad := slices.Clone(good)
	bad[43]++
	for _, test := range []struct {
		name string
		b    []byte
		err  error
	}{
		{"checksum", bad, wire.ErrChecksum},
		{"hop limit", mutate(good, set(7, 254)), wire.ErrHopLimit},
		{"code", mutate(good, set(41, 1)), wire.ErrType},
		{"type", mutate(good, set(40, 135)), wire.ErrType},
		{"protocol", mutate(good, set(6, 17)), wire.ErrProtocol},
		{"short", good[:47], wire.ErrShort},
		{"option of length 0", mutate(good, lengthen(1, 0, 0, 0, 0, 0, 0, 0)), wire.ErrOption},
		{"option cut", mutate(good, lengthen(1, 2, 0, 0, 0, 0, 0, 0)), wire.ErrOption},
		{"no room for an option", mutate(good, lengthen(1)), wire.ErrOption},
	} {
		if err := wire.CheckSolicitation(test.b); !errors.Is(err, test.err) {
			t.Errorf("%s: got %v, want %v", test.name, err, test.err)
		}
	}
}

func TestAdvertisementRefused(t *testing.T) {
	ra := wire.Advertisement{
		Src: wire.ServerLinkLocal(addr("203.0.113.1")), Dst: wire.ClientLinkLocal(false),
		Server: addr("203.0.113.1"), MTU: 1280,
	}
	good := wire.AppendAdvertisement(nil, &ra)
	if got, err := wire.ParseAdvertisement(good); err != nil || got != ra {
		t.Fatalf("got %+v, %v", got, err)
	}
	prefix := slices.Clone(good[56:88])
	bad := slices.Clone(good)
	bad[42]++
	for _, test := range []struct {
		name string
		b    []byte
		err  error
	}{
		{"checksum", bad, wire.ErrChecksum},
		{"hop limit", mutate(good, set(7, 64)), wire.ErrHopLimit},
		{"code", mutate(good, set(41, 1)), wire.ErrType},
		{"global source", mutate(good, set(8, 0x20)), wire.ErrAddress},
		{"prefix length", mutate(good, set(58, 32)), wire.ErrOption},
		{"prefix not Teredo", mutate(good, set(72, 0x30)), wire.ErrOption},
		{"two prefixes", mutate(good, lengthen(prefix...)), wire.ErrOption},
		{"no prefix", mutate(good, set(56, 9)), wire.ErrOption},
		{"MTU 1279", mutate(good, func(b []byte) []byte { b[94], b[95] = 0x04, 0xff; return b }), wire.ErrOption},
		{"MTU 1473", mutate(good, func(b []byte) []byte { b[94], b[95] = 0x05, 0xc1; return b }), wire.ErrOption},
		{"option of length 0", mutate(good, lengthen(9, 0, 0, 0, 0, 0, 0, 0)), wire.ErrOption},
		{"short", good[:55], wire.ErrShort},
	} {
		if got, err := wire.ParseAdvertisement(test.b); !errors.Is(err, test.err) {
			t.Errorf("%s: got %+v, %v, want %v", test.name, got, err, test.err)
		}
	}
	if b := wire.AppendAdvertisement(nil, &wire.Advertisement{Src: ra.Src, Dst: ra.Dst}); b != nil {
		t.Errorf("without server: %x", b)
	}
}

func TestEcho(t *testing.T) {
	for _, reply := range []bool{false, true} {
		e := wire.Echo{Reply: reply, Src: clientA, Dst: clientB, HopLimit: 9, ID: 1, Seq: 2, Data: []byte("odd")}
		b, err := wire.AppendEcho(nil, &e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := wire.ParseEcho(b)
		if err != nil || !bytes.Equal(got.Data, e.Data) || got.ID != 1 || got.Seq != 2 || got.Reply != reply || got.Src != clientA || got.HopLimit != 9 {
			t.Errorf("got %+v, %v", got, err)
		}
		b[47] ^= 1
		if _, err := wire.ParseEcho(b); !errors.Is(err, wire.ErrChecksum) {
			t.Errorf("changed: %v", err)
		}
		if _, err := wire.ParseEcho(mutate(b, set(41, 1))); !errors.Is(err, wire.ErrType) {
			t.Errorf("code 1: %v", err)
		}
		if _, err := wire.ParseEcho(b[:47]); !errors.Is(err, wire.ErrShort) {
			t.Errorf("short: %v", err)
		}
	}
	if _, err := wire.AppendEcho(nil, &wire.Echo{Src: clientA, Dst: clientB, Data: make([]byte, 65528)}); !errors.Is(err, wire.ErrUnencoding) {
		t.Errorf("too long: %v", err)
	}
}

// fuzzPackets adds what the vectors hold as IPv6 packets.
func fuzzPackets(f *testing.F) {
	for _, b := range vectors(f) {
		var d wire.Datagram
		if err := wire.Parse(b, &d); err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(d.IPv6))
	}
}

func FuzzParseAdvertisement(f *testing.F) {
	fuzzPackets(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := wire.CheckPacket(b)
		if err != nil {
			return
		}
		_ = wire.CheckSolicitation(p)
		ra, err := wire.ParseAdvertisement(p)
		if err != nil {
			return
		}
		again, err := wire.ParseAdvertisement(wire.AppendAdvertisement(nil, &ra))
		if err != nil || again != ra {
			t.Errorf("%+v -> %+v, %v", ra, again, err)
		}
	})
}

func FuzzParseEcho(f *testing.F) {
	fuzzPackets(f)
	// A sum of zero may be written in two ways, as RFC 1071 counts.
	f.Add(unhex(f, "6000000000083aff fe8000000000000000007d380000fffe ff020000000004000000000000000002 8100ffffffff0000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := wire.CheckPacket(b)
		if err != nil {
			return
		}
		e, err := wire.ParseEcho(p)
		if err != nil {
			return
		}
		again, err := wire.AppendEcho(nil, &e)
		const checksum = wire.HeaderSize + 2
		if b[checksum] == 0xff && b[checksum+1] == 0xff {
			b = slices.Clone(b)
			b[checksum], b[checksum+1] = 0, 0
		}
		if err != nil || !bytes.Equal(again[7:], b[7:]) { // traffic class and flow are not kept
			t.Errorf("%x -> %x, %v", b, again, err)
		}
	})
}
