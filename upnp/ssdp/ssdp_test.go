package ssdp

import (
	"net/netip"
	"strings"
	"testing"
)

const answer = "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n" +
	"USN: uuid:1::urn:x\r\nEXT:\r\nSERVER: Debian UPnP/1.1 MiniUPnPd/2.3.1\r\nLOCATION: http://192.168.1.1:5000/rootDesc.xml\r\n\r\n"

func TestParse(t *testing.T) {
	whole := Message{
		Kind: Answer, Target: "urn:schemas-upnp-org:device:InternetGatewayDevice:1", USN: "uuid:1::urn:x",
		Location: "http://192.168.1.1:5000/rootDesc.xml", Server: "Debian UPnP/1.1 MiniUPnPd/2.3.1",
	}
	tests := []struct {
		name string
		in   string
		want Message
		err  error
	}{
		{"answer", answer, whole, nil},
		{"bare line feeds", strings.ReplaceAll(answer, "\r", ""), whole, nil},
		{"lower case, no blanks", "HTTP/1.0 200 OK\nst:a\nlocation:http://1.2.3.4/\n", Message{Kind: Answer, Target: "a", Location: "http://1.2.3.4/"}, nil},
		{"twice: the first counts", "HTTP/1.1 200 OK\r\nST: a\r\nST: b\r\n", Message{Kind: Answer, Target: "a"}, nil},
		{"alive", "NOTIFY * HTTP/1.1\r\nNT: a\r\nNTS: ssdp:alive\r\nLOCATION: l\r\n", Message{Kind: Alive, Target: "a", Location: "l"}, nil},
		{"byebye", "NOTIFY * HTTP/1.1\r\nNT: a\r\nNTS: ssdp:byebye\r\n", Message{Kind: ByeBye, Target: "a"}, nil},
		{"another's search", "M-SEARCH * HTTP/1.1\r\nST: a\r\n", Message{}, ErrKind},
		{"404", "HTTP/1.1 404 no\r\nST: a\r\n", Message{}, ErrKind},
		{"empty", "", Message{}, ErrKind},
		{"2049 octets", answer + strings.Repeat("x", MaxLen+1-len(answer)), Message{}, ErrLength},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := Parse([]byte(tt.in)); got != tt.want || err != tt.err {
				t.Errorf("%+v, %v; want %+v, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

// U-01: a location is followed only to where its message came from.
func TestLocate(t *testing.T) {
	from, link := netip.MustParseAddr("192.168.1.1"), netip.MustParsePrefix("192.168.1.0/24")
	tests := []struct {
		location string
		from     netip.Addr
		link     netip.Prefix
		ok       bool
	}{
		{"http://192.168.1.1:5000/rootDesc.xml", from, link, true},
		{"http://192.168.1.1", from, link, true},
		{"http://192.168.1.2:5000/", from, link, false},
		{"http://127.0.0.1:9999/", from, link, false},
		{"http://127.0.0.1:9999/", netip.MustParseAddr("127.0.0.1"), netip.MustParsePrefix("127.0.0.0/8"), false},
		{"http://0.0.0.0/", netip.MustParseAddr("0.0.0.0"), netip.MustParsePrefix("0.0.0.0/0"), false},
		{"http://[::ffff:192.168.1.1]/", from, link, false},
		{"http://3232235777/", from, link, false},
		{"http://0xc0.168.1.1/", from, link, false},
		{"http://localhost/", from, link, false},
		{"http://(null):5000/", from, link, false},
		{"https://192.168.1.1/", from, link, false},
		{"file:///etc/passwd", from, link, false},
		{"http:192.168.1.1", from, link, false},
		{"http://a:b@192.168.1.1/", from, link, false},
		{"http://192.168.1.1@192.168.1.9/", from, link, false},
		{"http://192.168.1.1:0/", from, link, false},
		{"http://192.168.1.1:65536/", from, link, false},
		{"", from, link, false},
		{"http://8.8.8.8/", netip.MustParseAddr("8.8.8.8"), link, false},
		{"http://[fe80::1]:5000/", netip.MustParseAddr("fe80::1%eth0"), netip.MustParsePrefix("2001:db8::/64"), true},
		{"http://[2001:db8::1]:5000/", netip.MustParseAddr("2001:db8::1"), netip.MustParsePrefix("2001:db8::/64"), true},
		{"http://[2001:db8:1::1]:5000/", netip.MustParseAddr("2001:db8:1::1"), netip.MustParsePrefix("2001:db8::/64"), false},
	}
	for _, tt := range tests {
		u, err := Locate(tt.location, tt.from, tt.link)
		if (err == nil) != tt.ok || tt.ok && u == nil {
			t.Errorf("%q from %v: %v, %v", tt.location, tt.from, u, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(answer, "192.168.1.1")
	f.Add("NOTIFY * HTTP/1.1\r\nNT: a\r\nNTS: ssdp:alive\r\nLOCATION: http://127.0.0.1/\r\n", "127.0.0.1")
	f.Fuzz(func(t *testing.T, text, from string) {
		m, err := Parse([]byte(text))
		ip, bad := netip.ParseAddr(from)
		if err != nil || bad != nil {
			return
		}
		u, err := Locate(m.Location, ip, netip.PrefixFrom(ip, 8))
		if err != nil {
			return
		}
		host, err := netip.ParseAddr(u.Hostname())
		if err != nil || host.WithZone("") != ip.WithZone("") || host.IsLoopback() || u.Scheme != "http" {
			t.Errorf("%q from %v leads to %v", m.Location, ip, u)
		}
	})
}
