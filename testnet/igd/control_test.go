package igd

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// remote is a peer of PEER and FILTER, in the form that the wire has.
var remote = netip.MustParseAddr("203.0.113.99").As16()

func option(code byte, data ...byte) []byte {
	b := append([]byte{code, 0, byte(len(data) >> 8), byte(len(data))}, data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// NAT-PMP as RFC 6886 has it, byte by byte: sections 3.2 to 3.5.
func TestNATPMP(t *testing.T) {
	for _, tt := range []struct{ name, ask, want string }{
		{"external address", "0000", "0080000000000005cb007107"},
		{"map UDP", "000100001770 1771 0000003c", "0081000000000005 1770 1771 0000003c"},
		{"map TCP, no port suggested", "000200001770 0000 0000003c", "0082000000000005 1770 1770 0000003c"},
		{"port below 1024", "000100001770 0050 0000003c", "0081000000000005 1770 0400 0000003c"},
		{"too long a life", "000100001770 1771 ffffffff", "0081000000000005 1770 1771 00015180"},
		{"delete what is not there", "000100001770 0000 00000000", "0081000000000005 1770 0000 00000000"},
		{"delete all, with a port", "000100000000 0001 00000000", "0081000200000005 0000 0000 00000000"},
		{"unknown opcode", "0003 0000 0102", "0083000500000005"},
		{"an answer", "0080", ""},
		{"too short", "0001000017", ""},
		{"empty", "", ""},
		{"PCP", "0201" + strings.Repeat("00", 58), "0000000100000005"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRouter(t, "natpmp-only")
			ask, err := hex.DecodeString(strings.ReplaceAll(tt.ask, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, d := range r.Control(start.Add(5*time.Second), client, ask) {
				got += hex.EncodeToString(d.Payload)
			}
			if want := strings.ReplaceAll(tt.want, " ", ""); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// A mapping is renewed, kept from others, and gone when it has expired or was
// deleted; the port of the other protocol is kept for the same client.
func TestNATPMPLife(t *testing.T) {
	r := newRouter(t, "natpmp-only")
	r.Control(start, client, pmpAsk(6000, 7000, 60))
	other := one(t, r.Control(start, neighbor, pmpAsk(6000, 7000, 60)))
	if got := be.Uint16(other[10:]); got == 7000 || got == 0 {
		t.Errorf("the neighbor got port %d", got)
	}
	tcp := pmpAsk(6000, 7000, 60)
	tcp[1] = 2
	if got := be.Uint16(one(t, r.Control(start, neighbor, tcp))[10:]); got == 7000 {
		t.Error("the companion port was given away")
	}
	r.Control(start.Add(30*time.Second), client, pmpAsk(6000, 9999, 60)) // a renewal keeps its port
	if m := r.Mappings(start.Add(80 * time.Second)); len(m) != 1 || m[0].External.Port() != 7000 {
		t.Errorf("after 80 s: %+v", m)
	}
	if m := r.Mappings(start.Add(91 * time.Second)); len(m) != 0 {
		t.Errorf("after 91 s: %+v", m)
	}
}

// PCP as RFC 6887 has it: result, lifetime and assigned port.
func TestPCP(t *testing.T) {
	filter := func(bits byte, port uint16) []byte {
		return option(pcpFilter, append(be.AppendUint16([]byte{0, bits}, port), remote[:]...)...)
	}
	peer := append(be.AppendUint16(nil, 443), append([]byte{0, 0}, remote[:]...)...)
	with := func(b []byte, at int, v ...byte) []byte { copy(b[at:], v); return b }
	for _, tt := range []struct {
		name    string
		ask     []byte
		code    int
		life    uint32
		port    uint16
		forward string // the remote addresses of the mapping, if there is one
	}{
		{"announce", pcpAsk(pcpAnnounce, 0, 0, 0), 0, 0, 0, ""},
		{"map", pcpAsk(pcpMap, 6000, 7000, 600), 0, 600, 7000, "all"},
		{"no port suggested", pcpAsk(pcpMap, 6000, 0, 600), 0, 600, 6000, "all"},
		{"a port of services suggested", pcpAsk(pcpMap, 6000, 80, 600), 0, 600, 1024, "all"},
		{"PCP's own port suggested", pcpAsk(pcpMap, 6000, 5350, 600), 0, 600, 5352, "all"},
		{"too short a life", pcpAsk(pcpMap, 6000, 7000, 1), 0, 120, 7000, "all"},
		{"too long a life", pcpAsk(pcpMap, 6000, 7000, 1<<32-1), 0, 86400, 7000, "all"},
		{"taken port", pcpAsk(pcpMap, 6000, 5000, 600), 0, 600, 5001, "all"},
		{"taken port, prefer failure", pcpAsk(pcpMap, 6000, 5000, 600, option(pcpPreferFailure)...), pcpCannotProvide, 30, 5000, ""},
		{"free port, prefer failure", pcpAsk(pcpMap, 6000, 7000, 600, option(pcpPreferFailure)...), 0, 600, 7000, "all"},
		{"prefer failure without a port", pcpAsk(pcpMap, 6000, 0, 600, option(pcpPreferFailure)...), pcpMalformedOption, 1800, 0, ""},
		{"third party", pcpAsk(pcpMap, 6000, 7000, 600, option(pcpThirdParty, remote[:]...)...), pcpUnsupportedOption, 1800, 7000, ""},
		{"filter", pcpAsk(pcpMap, 6000, 7000, 600, filter(120, 0)...), 0, 600, 7000, "203.0.113.0/24"},
		{"filter of a port", pcpAsk(pcpMap, 6000, 7000, 600, filter(128, 53)...), pcpExcessiveRemotePeers, 1800, 7000, ""},
		{"filter too short", pcpAsk(pcpMap, 6000, 7000, 600, option(pcpFilter, 0, 128)...), pcpMalformedOption, 1800, 7000, ""},
		{"filter of 40 bits", pcpAsk(pcpMap, 6000, 7000, 600, filter(40, 0)...), pcpMalformedOption, 1800, 7000, ""},
		{"unknown mandatory option", pcpAsk(pcpMap, 6000, 7000, 600, option(99)...), pcpUnsupportedOption, 1800, 7000, ""},
		{"unknown optional option", pcpAsk(pcpMap, 6000, 7000, 600, option(200, 1, 2, 3)...), 0, 600, 7000, "all"},
		{"option longer than the packet", pcpAsk(pcpMap, 6000, 7000, 600, 200, 0, 1, 0), pcpMalformedOption, 1800, 7000, ""},
		{"not a multiple of four", pcpAsk(pcpMap, 6000, 7000, 600, 1), pcpMalformedRequest, 1800, 7000, ""},
		{"too short for MAP", pcpAsk(pcpMap, 6000, 7000, 600)[:40], pcpMalformedRequest, 1800, 0, ""},
		{"another client's address", with(pcpAsk(pcpMap, 6000, 7000, 600), 23, 99), pcpAddressMismatch, 1800, 7000, ""},
		{"unknown opcode", pcpAsk(17, 6000, 7000, 600), pcpUnsupportedOpcode, 1800, 7000, ""},
		{"version 3", with(pcpAsk(pcpMap, 6000, 7000, 600), 0, 3), pcpUnsupportedVersion, 1800, 0, ""},
		{"SCTP", with(pcpAsk(pcpMap, 6000, 7000, 600), 36, 132), pcpUnsupportedProtocol, 1800, 7000, ""},
		{"all ports", pcpAsk(pcpMap, 0, 0, 600), pcpUnsupportedProtocol, 1800, 0, ""},
		{"all protocols, one port", with(pcpAsk(pcpMap, 6000, 0, 600), 36, 0), pcpMalformedRequest, 1800, 0, ""},
		{"delete what is not there", pcpAsk(pcpMap, 6000, 0, 0), 0, 0, 0, ""},
		{"peer", pcpAsk(pcpPeer, 6000, 7000, 600, peer...), 0, 600, 7000, "203.0.113.99/32"},
		{"peer without a port", pcpAsk(pcpPeer, 6000, 7000, 600, make([]byte, 20)...), pcpMalformedRequest, 1800, 7000, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRouter(t, "pcp-only")
			if err := r.Add(start, Mapping{Protocol: protoUDP, External: netip.AddrPortFrom(outside, 5000), Internal: neighbor}); err != nil {
				t.Fatal(err)
			}
			b := one(t, r.Control(start.Add(5*time.Second), client, tt.ask))
			if b[0] != pcpVersion || b[1] != 0x80|tt.ask[1]&0x7f || len(b)%4 != 0 || be.Uint32(b[8:]) != 5 {
				t.Errorf("header % x", b[:pcpHeader])
			}
			if int(b[3]) != tt.code || be.Uint32(b[4:]) != tt.life {
				t.Errorf("result %d for %d s, want %d for %d s", b[3], be.Uint32(b[4:]), tt.code, tt.life)
			}
			if len(b) >= pcpHeader+pcpMapBody && be.Uint16(b[pcpHeader+18:]) != tt.port {
				t.Errorf("port %d, want %d", be.Uint16(b[pcpHeader+18:]), tt.port)
			}
			forward := ""
			if m := r.Mappings(start); len(m) > 1 {
				if forward = "all"; m[1].Remote.IsValid() {
					forward = m[1].Remote.String()
				}
			}
			if forward != tt.forward {
				t.Errorf("open for %q, want %q", forward, tt.forward)
			}
		})
	}
}

// Requests with another nonce: RFC 6887 forbids them, miniupnpd lets them renew
// and not delete.
func TestPCPNonce(t *testing.T) {
	for name, renew := range map[string]byte{"pcp-only": pcpNotAuthorized, "miniupnpd": 0} {
		r := newRouter(t, name)
		r.Control(start, client, pcpAsk(pcpMap, 6000, 7000, 600))
		for life, want := range map[uint32]byte{600: renew, 0: pcpNotAuthorized} {
			ask := pcpAsk(pcpMap, 6000, 7000, life)
			ask[pcpHeader] ^= 1
			if life == 0 && renew == 0 {
				ask[pcpHeader] ^= 3
			}
			if got := one(t, r.Control(start, client, ask))[3]; got != want {
				t.Errorf("%s, lifetime %d: result %d, want %d", name, life, got, want)
			}
		}
		if m := r.Mappings(start); len(m) != 1 {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

// An external address that changes takes the mappings along, resets the epoch
// and is announced.
func TestReaddress(t *testing.T) {
	r := newRouter(t, "pcp-and-natpmp")
	r.Control(start, client, pmpAsk(6000, 7000, 3600))
	gw := r.cfg.Gateway.(*Memory)
	gw.Addrs = []netip.Addr{netip.MustParseAddr("203.0.113.8")}
	now := start.Add(time.Minute)
	list := r.Advance(now)
	if len(list) != 2*announcements || list[1].To != ControlGroup || hex.EncodeToString(list[1].Payload) != "0080000000000000cb007108" {
		t.Errorf("%d announcements, %+v", len(list), list[:min(2, len(list))])
	}
	if m := r.Mappings(now); len(m) != 1 || m[0].External.String() != "203.0.113.8:7000" {
		t.Errorf("mappings %+v", m)
	}
	if list := r.Advance(now); len(list) != 0 {
		t.Errorf("announced again: %+v", list)
	}
}
