package wire_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"testing"

	"shipworm/teredo/wire"
)

func addr(s string) netip.Addr         { return netip.MustParseAddr(s) }
func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// addresses are the worked examples of RFC 6081, figures 2 and 3, and of the
// captured sessions.
var addresses = []struct {
	text   string
	server string
	flags  uint16
	mapped string
}{
	{"2001:0:cb00:7178:0:efff:3fff:fdfe", "203.0.113.120", 0, "192.0.2.1:4096"},
	{"2001:0:c633:6476:0:dfff:3fff:fdf5", "198.51.100.118", 0, "192.0.2.10:8192"},
	{"2001:0:cb00:7178:0:f000:39cc:9b89", "203.0.113.120", 0, "198.51.100.118:4095"},
	{"2001:0:cb00:7178:0:63be:39cc:9bf8", "203.0.113.120", 0, "198.51.100.7:40001"},
	{"2001:0:cb00:7178:3cff:63be:39cc:9bf8", "203.0.113.120", 0x3cff, "198.51.100.7:40001"},
	{"2001:0:cb00:7101:101f:f1e5:39cc:9bf5", "203.0.113.1", 0x101f, "198.51.100.10:3610"},
	{"2001:0:cb00:7178:8000:63be:39cc:9bf8", "203.0.113.120", 0x8000, "198.51.100.7:40001"},
	{"2001::ffff:ffff:ffff", "0.0.0.0", 0, "0.0.0.0:0"}, // RFC 5952: the longest run of zeros
}

func TestAddress(t *testing.T) {
	for _, test := range addresses {
		t.Run(test.text, func(t *testing.T) {
			a := wire.AddressFrom(addr(test.server), test.flags, addrPort(test.mapped))
			parsed, err := wire.ParseAddress(test.text)
			if err != nil || parsed != a {
				t.Fatalf("parsed %v, %v; built %v", parsed, err, a)
			}
			if a.String() != test.text || string(a.AppendTo(nil)) != test.text {
				t.Errorf("text %q", a.String())
			}
			if a.Server() != addr(test.server) || a.Mapped() != addrPort(test.mapped) || a.Flags() != test.flags {
				t.Errorf("got %v, %v, %#x", a.Server(), a.Mapped(), a.Flags())
			}
			if a.Cone() != (test.flags&wire.FlagCone != 0) {
				t.Errorf("cone %v", a.Cone())
			}
			if back, ok := wire.AddressFromAddr(a.Addr()); !ok || back != a || !wire.Prefix().Contains(a.Addr()) {
				t.Errorf("by way of netip: %v, %v", back, ok)
			}
			text, _ := json.Marshal(a)
			var b wire.Address
			if err := json.Unmarshal(text, &b); err != nil || b != a {
				t.Errorf("JSON %s: %v, %v", text, b, err)
			}
		})
	}
}

func TestAddressRefused(t *testing.T) {
	for _, s := range []string{"", "2001:1::", "2001::1%eth0", "::ffff:192.0.2.1", "3ffe:831f::1", "fe80::1", "192.0.2.1", "x"} {
		if a, err := wire.ParseAddress(s); err == nil || a.IsValid() {
			t.Errorf("ParseAddress(%q) = %v", s, a)
		}
	}
	if _, err := wire.ParseAddress("2001:db8::1"); !errors.Is(err, wire.ErrNotTeredo) {
		t.Errorf("native address: %v", err)
	}
	var zero wire.Address
	if zero.IsValid() || zero.Addr().IsValid() || zero.Server().IsValid() || zero.Mapped().IsValid() {
		t.Error("the zero Address is valid")
	}
	if b, err := zero.MarshalText(); len(b) != 0 || err != nil {
		t.Errorf("zero marshals to %q, %v", b, err)
	}
	if err := zero.UnmarshalText(nil); err != nil || zero.IsValid() {
		t.Errorf("empty text: %v, %v", zero, err)
	}
	if a := wire.AddressFrom(addr("2001:db8::1"), 0, addrPort("192.0.2.1:1")); a.IsValid() {
		t.Errorf("IPv6 server gives %v", a)
	}
	mapped := wire.AddressFrom(addr("::ffff:192.0.2.1"), 0, addrPort("[::ffff:192.0.2.2]:1"))
	if mapped.Server() != addr("192.0.2.1") || mapped.Mapped() != addrPort("192.0.2.2:1") {
		t.Errorf("IPv4-mapped arguments give %v", mapped)
	}
}

func TestLinkLocal(t *testing.T) {
	if got := wire.ServerLinkLocal(addr("203.0.113.120")); got != addr("fe80::8000:f227:34ff:8e87") {
		t.Errorf("server: %v", got)
	}
	if got := wire.ClientLinkLocal(false); got != addr("fe80::ffff:ffff:fffe") {
		t.Errorf("client: %v", got)
	}
	if got := wire.ClientLinkLocal(true); got != addr("fe80::8000:ffff:ffff:fffe") {
		t.Errorf("cone client: %v", got)
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, test := range addresses {
		f.Add(test.text)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := wire.ParseAddress(s)
		if err != nil {
			return
		}
		again, err := wire.ParseAddress(a.String())
		if err != nil || again != a {
			t.Errorf("%q -> %v -> %v, %v", s, a, again, err)
		}
		if b := wire.AddressFrom(a.Server(), a.Flags(), a.Mapped()); b != a {
			t.Errorf("%v rebuilt as %v", a, b)
		}
	})
}
