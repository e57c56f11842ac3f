package igd

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"shipworm/testnet/firewall"
)

// walled is a gateway with IPv6.
type walled struct {
	Memory
	wall *firewall.Firewall
}

func (w *walled) Firewall(f func(*firewall.Firewall)) { f(w.wall) }

var client6 = netip.MustParseAddrPort("[2001:db8::2]:40000")

func newWalled(t *testing.T) (*Router, *firewall.Firewall) {
	t.Helper()
	w, err := firewall.New(firewall.Config{MaxPinholes: 2})
	if err != nil {
		t.Fatal(err)
	}
	r := newRouter(t, "miniupnpd")
	r.cfg.Gateway = &walled{Memory{Addrs: []netip.Addr{outside}}, w}
	return r, w
}

// PCP MAP of an IPv6 address opens the firewall and translates nothing; its
// nonce protects the pinhole, and a restart closes it.
func TestPCPPinhole(t *testing.T) {
	r, w := newWalled(t)
	ask := func(internal uint16, seconds uint32, rest ...byte) []byte {
		b := pcpAsk(pcpMap, internal, 7000, seconds, rest...)
		a := client6.Addr().As16()
		copy(b[8:], a[:])
		return one(t, r.Control(start, client6, b))
	}
	b := ask(6000, 600)
	if b[3] != 0 || be.Uint32(b[4:]) != 600 || be.Uint16(b[42:]) != 6000 || netip.AddrFrom16([16]byte(b[44:])) != client6.Addr() {
		t.Errorf("% x", b)
	}
	if h := w.Pinholes(start); len(h) != 1 || h[0].Internal != netip.AddrPortFrom(client6.Addr(), 6000) || h[0].Proto != protoUDP {
		t.Errorf("%+v", h)
	}
	stolen := pcpAsk(pcpMap, 6000, 7000, 0)
	a := client6.Addr().As16()
	copy(stolen[8:], a[:])
	stolen[pcpHeader] ^= 1
	if b := one(t, r.Control(start, client6, stolen)); b[3] != pcpNotAuthorized {
		t.Errorf("another nonce: %d", b[3])
	}
	if b := ask(6001, 600, option(pcpFilter, append([]byte{0, 64, 0, 53}, a[:]...)...)...); b[3] != 0 || w.Pinholes(start)[1].RemotePort != 53 {
		t.Errorf("filter: %d, %+v", b[3], w.Pinholes(start))
	}
	if b := ask(6002, 600); b[3] != pcpNoResources {
		t.Errorf("a third pinhole: %d", b[3])
	}
	if b := ask(6000, 0); b[3] != 0 || len(w.Pinholes(start)) != 1 {
		t.Errorf("delete: %d, %+v", b[3], w.Pinholes(start))
	}
	if r.Reboot(start); len(w.Pinholes(start)) != 0 {
		t.Errorf("after a restart: %+v", w.Pinholes(start))
	}
	r.cfg.Gateway = &Memory{Addrs: []netip.Addr{outside}}
	if b := ask(6000, 600); b[3] != pcpUnsupportedProtocol {
		t.Errorf("without IPv6: %d", b[3])
	}
	if list := r.Control(start, client6, []byte{0, 0}); list != nil {
		t.Errorf("NAT-PMP over IPv6: %+v", list)
	}
}

// WANIPv6FirewallControl, action by action.
func TestFirewallControl(t *testing.T) {
	r, w := newWalled(t)
	do := func(name, args string) (int, string) {
		body := strings.ReplaceAll(action(name, args), "WANIPConnection:1", "WANIPv6FirewallControl:1")
		p := r.page(start, client, "POST", "/ctl/WANIPv6FirewallControl", []byte(body))
		log := r.Requests()
		return log[len(log)-1].Result, p.body
	}
	add := func(host string, protocol, lease int) string {
		return fmt.Sprintf("<RemoteHost></RemoteHost><RemotePort>0</RemotePort><InternalClient>%s</InternalClient><InternalPort>6000</InternalPort><Protocol>%d</Protocol><LeaseTime>%d</LeaseTime>", host, protocol, lease)
	}
	for _, tt := range []struct {
		name, args string
		code       int
		want       string
	}{
		{"GetFirewallStatus", "", 0, "<InboundPinholeAllowed>1<"},
		{"AddPinhole", add("2001:db8::2", 17, 600), 0, "<UniqueID>1<"},
		{"AddPinhole", add("2001:db8::2", 65535, 600), 0, "<UniqueID>2<"},
		{"AddPinhole", add("2001:db8::3", 17, 600), upnpActionFailed, ""},
		{"AddPinhole", add("", 17, 600), 708, ""},
		{"AddPinhole", add("192.168.1.2", 17, 600), upnpInvalidArgs, ""},
		{"AddPinhole", add("2001:db8::2", 17, 0), upnpInvalidArgs, ""},
		{"AddPinhole", add("2001:db8::2", 17, 86401), upnpInvalidArgs, ""},
		{"GetPinholePackets", "<UniqueID>1</UniqueID>", 0, "<PinholePackets>0<"},
		{"CheckPinholeWorking", "<UniqueID>1</UniqueID>", 0, "<IsWorking>0<"},
		{"UpdatePinhole", "<UniqueID>1</UniqueID><NewLeaseTime>900</NewLeaseTime>", 0, ""},
		{"DeletePinhole", "<UniqueID>2</UniqueID>", 0, ""},
		{"DeletePinhole", "<UniqueID>2</UniqueID>", 704, ""},
		{"UpdatePinhole", "<UniqueID>x</UniqueID>", upnpInvalidArgs, ""},
		{"GetOutboundPinholeTimeout", "", 0, "<OutboundPinholeTimeout>"},
		{"Nonsense", "<UniqueID>1</UniqueID>", upnpInvalidAction, ""},
	} {
		if code, body := do(tt.name, tt.args); code != tt.code || !strings.Contains(body, tt.want) {
			t.Errorf("%s %s: code %d, want %d and %q in\n%s", tt.name, tt.args, code, tt.code, tt.want, body)
		}
	}
	if h := w.Pinholes(start.Add(800 * time.Second)); len(h) != 1 || h[0].ID != 1 {
		t.Errorf("after 800 s: %+v", h)
	}
	r.cfg.Gateway = &Memory{Addrs: []netip.Addr{outside}}
	if _, body := do("GetFirewallStatus", ""); !strings.Contains(body, "<InboundPinholeAllowed>0<") {
		t.Error(body)
	}
	if code, _ := do("AddPinhole", add("2001:db8::2", 17, 600)); code != 703 {
		t.Errorf("without IPv6: code %d", code)
	}
}
