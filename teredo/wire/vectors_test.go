package wire_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"testing"

	"shipworm/teredo/wire"
)

// vectors returns the packets of testdata/vectors.txt by the first words of
// their descriptions.
func vectors(t testing.TB) map[string][]byte {
	t.Helper()
	data, err := os.ReadFile("testdata/vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	m := map[string][]byte{}
	var name string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "# "); ok {
			name, _, _ = strings.Cut(rest, " (")
			if _, twice := m[name]; twice { // the nonce is in parentheses
				name = rest
			}
			continue
		}
		m[name] = unhex(t, line)
	}
	if len(m) != 16 {
		t.Fatalf("%d vectors, want 16", len(m))
	}
	return m
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// vector returns the one whose description begins so.
func vector(t testing.TB, prefix string) []byte {
	t.Helper()
	var found [][]byte
	for name, b := range vectors(t) {
		if strings.HasPrefix(name, prefix) {
			found = append(found, b)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d vectors %q", len(found), prefix)
	}
	return found[0]
}

// Every vector is what the builders make of its description.
func TestBuildVectors(t *testing.T) {
	nonce := [8]byte{1, 2, 3, 4, 5, 6, 7, 8}
	client, server := addrPort("198.51.100.7:40001"), addr("203.0.113.120")
	a := addr("2001:0:cb00:7178:0:63be:39cc:9bf8")
	b := addr("2001:0:c633:6476:0:dfff:3fff:fdf5")
	ra := wire.Advertisement{Src: wire.ServerLinkLocal(server), Dst: wire.ClientLinkLocal(false), Server: server}
	raMTU := ra
	raMTU.MTU = 1280
	secure := func(value string, rest []byte) []byte {
		b, err := wire.AppendAuth(nil, &wire.Auth{ID: []byte("client1"), Value: unhex(t, value), Nonce: nonce})
		if err != nil {
			t.Fatal(err)
		}
		return append(b, rest...)
	}
	solicitation := func(cone bool) []byte { return wire.AppendSolicitation(nil, wire.ClientLinkLocal(cone)) }
	bubble := func(tr wire.Trailers) []byte { return wire.AppendTrailers(wire.AppendBubble(nil, a, b, 0), &tr) }
	echo, err := wire.AppendEcho(nil, &wire.Echo{
		Src: a, Dst: addr("2001:db8:1::80"), HopLimit: 64, ID: 0x1234, Seq: 1, Data: unhex(t, "1011121314151617"),
	})
	if err != nil {
		t.Fatal(err)
	}
	withNonce := wire.Trailers{HasNonce: true, Nonce: [4]byte{0xde, 0xad, 0xbe, 0xef}}
	withPort, withAlternates := withNonce, withNonce
	withPort.RandomPort = 50000
	withAlternates.Alternates = 2
	withAlternates.Alternate[0] = addrPort("192.168.1.10:40000")
	withAlternates.Alternate[1] = addrPort("10.0.0.5:40000")
	for name, got := range map[string][]byte{
		"RS restricted, no auth":                             solicitation(false),
		"RS restricted + auth":                               append(wire.AppendNonce(nil, nonce), solicitation(false)...),
		"RS cone + auth":                                     append(wire.AppendNonce(nil, nonce), solicitation(true)...),
		"RA restricted: auth":                                wire.AppendAdvertisement(wire.AppendOrigin(wire.AppendNonce(nil, nonce), client), &ra),
		"RA restricted with MTU":                             wire.AppendAdvertisement(wire.AppendOrigin(wire.AppendNonce(nil, nonce), client), &raMTU),
		"secure RS":                                          secure("ed8d30d0eedf991e41dd3c46766c5927dfab212e", solicitation(false)),
		"secure RA":                                          secure("b91ae949c24cc4ea3b1154bccf25b2427e0500c9", wire.AppendAdvertisement(wire.AppendOrigin(nil, client), &ra)),
		"direct bubble A->B":                                 bubble(wire.Trailers{}),
		"indirect bubble A->B as received":                   append(wire.AppendOrigin(nil, client), bubble(wire.Trailers{})...),
		"indirect bubble A->B with Nonce tr":                 bubble(withNonce),
		"indirect bubble A->B with Nonce + Ra":               bubble(withPort),
		"indirect bubble with Nonce + Alter":                 bubble(withAlternates),
		"direct bubble with ND option trailer Solicitation":  bubble(wire.Trailers{Discovery: wire.DiscoverySolicitation}),
		"direct bubble with ND option trailer Advertisement": bubble(wire.Trailers{Discovery: wire.DiscoveryAdvertisement}),
		"echo request":                                       echo,
		"local discovery bubble":                             wire.AppendBubble(nil, a, wire.AllNodes(), 1),
	} {
		if want := vector(t, name); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", name, got, want)
		}
	}
}

// Every vector parses into parts that add up to it again.
func TestParseVectors(t *testing.T) {
	for name, b := range vectors(t) {
		var d wire.Datagram
		if err := wire.Parse(b, &d); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if again := rebuild(t, &d); !bytes.Equal(again, b) {
			t.Errorf("%s:\n got %x\nwant %x", name, again, b)
		}
		checkUpper(t, name, d.IPv6)
	}
}

// rebuild puts a parsed datagram together again.
func rebuild(t testing.TB, d *wire.Datagram) []byte {
	t.Helper()
	var b []byte
	if d.HasAuth {
		var err error
		if b, err = wire.AppendAuth(b, &d.Auth); err != nil {
			t.Fatal(err)
		}
	}
	if d.Origin.IsValid() {
		b = wire.AppendOrigin(b, d.Origin)
	}
	return slices.Concat(b, d.IPv6, d.Trailers)
}

// checkUpper expects p to be a bubble, a good discovery message or echo.
func checkUpper(t *testing.T, name string, p wire.Packet) {
	t.Helper()
	var err error
	switch {
	case p.IsBubble():
	case p[40] == wire.TypeSolicitation:
		err = wire.CheckSolicitation(p)
	case p[40] == wire.TypeAdvertisement:
		_, err = wire.ParseAdvertisement(p)
	default:
		_, err = wire.ParseEcho(p)
	}
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

// A captured session of two Miredo clients, a server and a relay parses whole,
// and what it holds is what the endpoints say.
func TestMiredoSession(t *testing.T) {
	f, err := os.Open("testdata/miredo-session.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	kinds := map[string]int{}
	for scanner := bufio.NewScanner(f); scanner.Scan(); {
		field := strings.Split(scanner.Text(), "\t")
		name, b := "frame "+field[0], unhex(t, field[6])
		from := addrPort(field[2] + ":" + field[3])
		to := addrPort(field[4] + ":" + field[5])
		var d wire.Datagram
		if err := wire.Parse(b, &d); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		checkUpper(t, name, d.IPv6)
		if again := rebuild(t, &d); !bytes.Equal(again, b) {
			t.Errorf("%s: rebuilt as %x", name, again)
		}
		src, teredo := wire.AddressFromAddr(d.IPv6.Source())
		switch {
		case teredo && src.Mapped() != from:
			t.Errorf("%s: from %v, but %v holds %v", name, from, src, src.Mapped())
		case d.IPv6.IsBubble():
			kinds["bubble"]++
		case d.IPv6[40] == wire.TypeSolicitation:
			kinds["RS"]++
			if want := wire.AppendSolicitation(nil, d.IPv6.Source()); !bytes.Equal(d.IPv6, want) {
				t.Errorf("%s: ours would be %x", name, want)
			}
		case d.IPv6[40] == wire.TypeAdvertisement:
			kinds["RA"]++
			ra, _ := wire.ParseAdvertisement(d.IPv6)
			if ra.Server != from.Addr() || ra.MTU != 1280 || d.Origin != to {
				t.Errorf("%s: %+v, origin %v", name, ra, d.Origin)
			}
			if ours := wire.AppendAdvertisement(nil, &ra); !bytes.Equal(d.IPv6, ours) {
				t.Errorf("%s: ours would be %x", name, ours)
			}
		default:
			kinds["echo"]++
		}
	}
	if kinds["RS"] != 4 || kinds["RA"] != 4 || kinds["bubble"] != 10 || kinds["echo"] != 16 {
		t.Errorf("found %v", kinds)
	}
}
