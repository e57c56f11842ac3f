package wire_test

import (
	"errors"
	"testing"

	"shipworm/teredo/wire"
)

// The processing rules of RFC 6081, 5.1.2, and the rules of each trailer.
func TestParseTrailers(t *testing.T) {
	nonce := wire.Trailers{HasNonce: true, Nonce: [4]byte{0xde, 0xad, 0xbe, 0xef}}
	with := func(tr wire.Trailers, change func(*wire.Trailers)) wire.Trailers { change(&tr); return tr }
	malformed := func(tr *wire.Trailers) { tr.Malformed = true }
	alternate := func(tr *wire.Trailers) { tr.Malformed, tr.BadAlternate = true, true }
	two := func(tr *wire.Trailers) {
		tr.Alternates = 2
		tr.Alternate[0], tr.Alternate[1] = addrPort("192.168.1.10:40000"), addrPort("10.0.0.5:40000")
	}
	for _, test := range []struct {
		name string
		hex  string
		want wire.Trailers
	}{
		{"none", "", wire.Trailers{}},
		{"nonce", "0104deadbeef", nonce},
		{"nonce and random port", "0104deadbeef 0502c350", with(nonce, func(tr *wire.Trailers) { tr.RandomPort = 50000 })},
		{"random port by its other type", "0202c350", wire.Trailers{RandomPort: 50000}},
		{"alternate addresses", "030e 0000 c0a8010a9c40 0a0000059c40", with(wire.Trailers{}, two)},
		{"solicitation", "040400000000", wire.Trailers{Discovery: wire.DiscoverySolicitation}},
		{"advertisement", "040401000000", wire.Trailers{Discovery: wire.DiscoveryAdvertisement}},
		{"unknown 00, 10, 11 skipped", "0f00 8001ff c00100 0104deadbeef", nonce},
		{"one byte left", "0104deadbeef 05", with(nonce, malformed)},
		{"length beyond the datagram", "0104deadbeef 0503c350", with(nonce, malformed)},
		{"nothing behind a malformed one counts", "0103deadbe 0502c350", with(wire.Trailers{}, malformed)},
		{"wrong length of the port", "0501c3", with(wire.Trailers{}, malformed)},
		{"random port 0", "05020000 0104deadbeef", with(wire.Trailers{}, malformed)},
		{"alternate of 7 bytes", "0307 0000 c0a8010a9c", with(wire.Trailers{}, alternate)},
		{"alternate without entry", "0302 0000", with(wire.Trailers{}, alternate)},
		{"five alternates", "0320 0000 c0a801019c40 c0a801029c40 c0a801039c40 c0a801049c40 c0a801059c40", with(wire.Trailers{}, alternate)},
		{"alternate port 0", "0308 0000 c0a8010a0000", with(wire.Trailers{}, alternate)},
		{"alternate multicast", "0308 0000 e00000fb0001", with(wire.Trailers{}, alternate)},
		{"alternate of class E", "0308 0000 f00000010001", with(wire.Trailers{}, alternate)},
		{"alternate unspecified", "0308 0000 000000000001", with(wire.Trailers{}, alternate)},
		{"alternate beyond the datagram", "0104deadbeef 0308 0000 c0a8010a9c", with(nonce, alternate)},
		{"type of an alternate, no more", "0104deadbeef 03", with(nonce, alternate)},
		{"unknown discovery", "040402000000", with(wire.Trailers{}, malformed)},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got wire.Trailers
			if err := wire.ParseTrailers(unhex(t, test.hex), &got); err != nil || got != test.want {
				t.Errorf("got %+v, %v, want %+v", got, err, test.want)
			}
		})
	}
	for _, s := range []string{"4000", "7f021234", "0104deadbeef 4100"} {
		var got wire.Trailers
		if err := wire.ParseTrailers(unhex(t, s), &got); !errors.Is(err, wire.ErrTrailer) {
			t.Errorf("%s: %v, want a discard", s, err)
		}
	}
}

func FuzzParseTrailers(f *testing.F) {
	f.Add(unhex(f, "0104deadbeef0502c350"))
	f.Add(unhex(f, "0104deadbeef030e0000c0a8010a9c400a0000059c40"))
	f.Add(unhex(f, "040401000000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got, again wire.Trailers
		if wire.ParseTrailers(b, &got) != nil {
			return
		}
		got.Malformed, got.BadAlternate = false, false
		if err := wire.ParseTrailers(wire.AppendTrailers(nil, &got), &again); err != nil || again != got {
			t.Errorf("%+v -> %+v, %v", got, again, err)
		}
	})
}
