package main

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"

	"shipworm/upnp"
)

// hostile is what a router may call itself or a mapping.
const hostile = "Box\x1b]0;owned\x07\u202e\u009b31m <b>\r\nRouter: yours"

// overviews are routers as upnp show has to print them.
func overviews() map[string]upnp.Overview {
	g := upnp.Gateway{Addr: netip.MustParseAddr("192.168.1.1"), Local: netip.MustParsePrefix("192.168.1.2/24"), Interface: "wlan0"}
	wan := netip.MustParseAddr("203.0.113.7")
	return map[string]upnp.Overview{
		"all": {Gateway: g, External: wan, Services: []upnp.Service{
			{Via: upnp.ViaPCP, Took: 1234 * time.Microsecond},
			{Via: upnp.ViaNATPMP, Took: 800 * time.Microsecond, External: wan},
			{Via: upnp.ViaUPnP, Took: 34 * time.Millisecond, External: wan, Device: "OpenWrt router", Model: "OpenWrt 2"},
		}},
		"double": {Gateway: g, External: netip.MustParseAddr("100.64.0.5"), DoubleNAT: true, Services: []upnp.Service{
			{Via: upnp.ViaPCP, Err: upnp.ErrSilent}, {Via: upnp.ViaNATPMP, Err: upnp.ErrSilent},
			{Via: upnp.ViaUPnP, Took: 34 * time.Millisecond, External: netip.MustParseAddr("100.64.0.5"), Device: hostile, Model: hostile},
		}},
		"none": {Gateway: g, Services: []upnp.Service{
			{Via: upnp.ViaPCP, Err: upnp.ErrSilent}, {Via: upnp.ViaNATPMP, Err: upnp.ErrSilent}, {Via: upnp.ViaUPnP, Err: errors.New("no gateway device")},
		}},
	}
}

// R-26, U-06: upnp show as text and JSON; what the router calls itself moves no
// cursor and makes no line.
func TestUPnPShowGolden(t *testing.T) {
	for name, o := range overviews() {
		s := newShownRouter(&o, "private")
		var text, js bytes.Buffer
		if err := errors.Join(s.print(&text), printJSON(&js, s)); err != nil {
			t.Fatal(err)
		}
		golden(t, "upnp_show_"+name+".golden", text.Bytes())
		golden(t, "upnp_show_"+name+".json.golden", js.Bytes())
	}
}

// R-26, U-06: upnp list as text and JSON.
func TestUPnPListGolden(t *testing.T) {
	entries := []upnp.Entry{
		{Protocol: "UDP", External: 3545, Internal: netip.MustParseAddrPort("192.168.1.2:3545"), Description: "shipworm abcdefghij", Lease: 3599 * time.Second, Enabled: true, Ours: true},
		{Protocol: "TCP", External: 8080, Internal: netip.MustParseAddrPort("192.168.1.9:80"), Description: hostile, Enabled: false},
	}
	for name, e := range map[string][]upnp.Entry{"two": entries, "empty": nil} {
		s := newShownTable(e)
		var text, js bytes.Buffer
		if err := errors.Join(s.print(&text), printJSON(&js, s)); err != nil {
			t.Fatal(err)
		}
		golden(t, "upnp_list_"+name+".golden", text.Bytes())
		golden(t, "upnp_list_"+name+".json.golden", js.Bytes())
	}
}

// The lines of upnp add --keep, for people and for programs.
func TestUPnPAddGolden(t *testing.T) {
	m := upnp.Mapping{
		Protocol: upnp.UDP, Internal: netip.MustParseAddrPort("192.168.1.2:3545"), External: netip.MustParseAddrPort("203.0.113.7:3545"),
		Via: upnp.ViaPCP, Gateway: netip.MustParseAddr("192.168.1.1"), Lifetime: time.Hour,
	}
	double, unknown := m, m
	double.External, double.DoubleNAT, double.Lifetime = netip.MustParseAddrPort("192.168.178.20:3545"), true, 0
	unknown.External = netip.AddrPortFrom(netip.Addr{}, 3545)
	var text, js bytes.Buffer
	for _, one := range []upnp.Mapping{m, {}, double, unknown} {
		if err := errors.Join(writeMapping(&text, one, false), writeMapping(&js, one, true)); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "upnp_add.golden", text.Bytes())
	golden(t, "upnp_add.json.golden", js.Bytes())
}
