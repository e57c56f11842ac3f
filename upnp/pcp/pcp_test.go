package pcp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var nonce = Nonce{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}

// request and its answer, spelled after RFC 6887, 7 and 11.1.
const (
	mapRequest = "02 01 0000 00000e10 00000000000000000000ffffc0a80102" +
		"0102030405060708090a0b0c 11 000000 0dd9 0dd9 00000000000000000000ffff00000000"
	mapResponse = "02 81 00 00 00000e10 0000004d 000000000000000000000000" +
		"0102030405060708090a0b0c 11 000000 0dd9 9c40 00000000000000000000ffffcb007107"
)

func TestPackets(t *testing.T) {
	q := Request{Op: Map, Lifetime: time.Hour, Client: netip.MustParseAddr("192.168.1.2"), Mapping: Mapping{
		Nonce: nonce, Protocol: UDP, Internal: 3545, External: netip.AddrPortFrom(netip.Addr{}, 3545),
	}}
	if got, want := q.Append(nil), unhex(t, mapRequest); !bytes.Equal(got, want) {
		t.Errorf("request\n% x, want\n% x", got, want)
	}
	r, err := ParseResponse(unhex(t, mapResponse))
	want := Response{Op: Map, Lifetime: time.Hour, Epoch: 77, Mapping: Mapping{
		Nonce: nonce, Protocol: UDP, Internal: 3545, External: netip.MustParseAddrPort("203.0.113.7:40000"),
	}}
	if err != nil || r != want {
		t.Errorf("%v: %+v, want %+v", err, r, want)
	}
	if !r.Answers(&q) {
		t.Error("the answer does not answer")
	}
}

// U-12: one change makes an answer none, or another's.
func TestMutations(t *testing.T) {
	q := Request{Op: Map, Mapping: Mapping{Nonce: nonce, Protocol: UDP, Internal: 3545}}
	tests := []struct {
		name   string
		change func([]byte) []byte
		err    error // nil: it parses, and does not answer
	}{
		{"20 octets", func(b []byte) []byte { return b[:20] }, ErrLength},
		{"23 octets", func(b []byte) []byte { return b[:23] }, ErrLength},
		{"a map of 56 octets", func(b []byte) []byte { return b[:56] }, ErrShort},
		{"61 octets", func(b []byte) []byte { return append(b, 0) }, ErrLength},
		{"1104 octets", func(b []byte) []byte { return append(b, make([]byte, 1104-60)...) }, ErrLength},
		{"no R bit", func(b []byte) []byte { b[1] = 1; return b }, ErrKind},
		{"another opcode", func(b []byte) []byte { b[1] = 0x80; return b }, nil},
		{"another nonce", func(b []byte) []byte { b[35]++; return b }, nil},
		{"another nonce's first octet", func(b []byte) []byte { b[24]++; return b }, nil},
		{"another protocol", func(b []byte) []byte { b[36] = TCP; return b }, nil},
		{"another internal port", func(b []byte) []byte { b[41]++; return b }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := ParseResponse(tt.change(unhex(t, mapResponse)))
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if err == nil && r.Answers(&q) {
				t.Error("taken for the answer")
			}
		})
	}
	for _, b := range []byte{0, 1, 3} {
		packet := unhex(t, mapResponse)
		packet[0] = b
		var v *VersionError
		if _, err := ParseResponse(packet); !errors.As(err, &v) || v.Version != b {
			t.Errorf("version %d: %v", b, err)
		}
	}
	if _, err := ParseResponse(append(unhex(t, mapResponse), make([]byte, 1100-60)...)); err != nil {
		t.Errorf("1100 octets: %v", err)
	}
}

// RFC 6887, 8.5, with the differences that it allows, and those just beyond.
func TestEpoch(t *testing.T) {
	tests := []struct {
		name    string
		passed  time.Duration
		from    uint32
		to      uint32
		restart bool
	}{
		{"same second", 0, 100, 100, false},
		{"one second back", 0, 100, 99, false},
		{"two seconds back", 0, 100, 98, true},
		{"in step", time.Hour, 100, 3700, false},
		{"server slow by a sixteenth", 1600 * time.Second, 0, 1500, false},
		{"server too slow", 1600 * time.Second, 0, 1497, true},
		{"client slow by a sixteenth", 1500 * time.Second, 0, 1600, false},
		{"client too slow", 1500 * time.Second, 0, 1604, true},
		{"restarted", time.Hour, 100000, 5, true},
		{"wrapped", time.Second, 1<<32 - 1, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var e Epoch
			now := time.Unix(1e9, 0)
			if e.Observe(now, tt.from) {
				t.Error("the first is always valid")
			}
			if got := e.Observe(now.Add(tt.passed), tt.to); got != tt.restart {
				t.Errorf("restart %v, want %v", got, tt.restart)
			}
		})
	}
}

func FuzzParseResponse(f *testing.F) {
	f.Add(unhex(f, mapResponse))
	f.Add(unhex(f, "02 80 00 00 00000000 00000001 000000000000000000000000"))
	f.Add(unhex(f, "00 00 0001 00000005"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseResponse(b)
		if err != nil {
			return
		}
		again, err := ParseResponse(r.Append(nil))
		if err != nil || again != r {
			t.Errorf("%v: %+v, then %+v", err, r, again)
		}
	})
}

func FuzzParseRequest(f *testing.F) {
	f.Add(unhex(f, mapRequest))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := ParseRequest(b)
		if err != nil {
			return
		}
		again, err := ParseRequest(q.Append(nil))
		if err != nil || again != q {
			t.Errorf("%v: %+v, then %+v", err, q, again)
		}
	})
}
