package igd

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// faultTests has for every profile that is wrong in one thing what shows it.
// Those that are wrong on the wire only are in TestServedFaults.
func faultTests() map[string]func(*testing.T, *Router) {
	code := func(lease, want int) func(*testing.T, *Router) {
		return func(t *testing.T, r *Router) {
			if got := r.addUDP(start, 6000, lease); got != want {
				t.Errorf("lease %d: code %d, want %d", lease, got, want)
			}
			if want != 0 && len(r.Mappings(start)) != 0 {
				t.Error("mapped all the same")
			}
		}
	}
	both := func(f ...func(*testing.T, *Router)) func(*testing.T, *Router) {
		return func(t *testing.T, r *Router) {
			for _, f := range f {
				f(t, r)
			}
		}
	}
	bootOf := func(r *Router) string {
		list := r.Search(start, client, fmt.Appendf(nil, search, rootDevice))
		if len(list) == 0 {
			return ""
		}
		return header(list[0].Payload, "BOOTID.UPNP.ORG")
	}
	mute := func(t *testing.T, r *Router) {
		if list := r.Reboot(start.Add(time.Minute)); list != nil {
			t.Errorf("%+v", list)
		}
	}
	answer := func(action, want string) func(*testing.T, *Router) {
		return func(t *testing.T, r *Router) {
			if _, body := r.upnp(start, client, action, ""); !strings.Contains(body, want) {
				t.Errorf("want %q in\n%s", want, body)
			}
		}
	}
	get := func(path, want string) func(*testing.T, *Router) {
		return func(t *testing.T, r *Router) {
			p := r.page(start, client, "GET", path, nil)
			if text := fmt.Sprint(p.status, " ", p.location, " ", p.body); !strings.Contains(text, want) {
				t.Errorf("want %q in\n%s", want, text)
			}
		}
	}
	located := func(want string) func(*testing.T, *Router) {
		return func(t *testing.T, r *Router) {
			if got := header(one(t, r.Search(start, client, fmt.Appendf(nil, search, rootDevice))), "LOCATION"); got != want {
				t.Errorf("location %q, want %q", got, want)
			}
		}
	}
	// pcp and pmp look at the answer to a request for port 7000.
	pcp := func(want func(b []byte) bool) func(*testing.T, *Router) {
		return func(t *testing.T, r *Router) {
			if b := one(t, r.Control(start, client, pcpAsk(pcpMap, 6000, 7000, 600))); !want(b) {
				t.Errorf("% x", b)
			}
		}
	}
	pmp := func(want func(b []byte) bool) func(*testing.T, *Router) {
		return func(t *testing.T, r *Router) {
			if b := one(t, r.Control(start, client, pmpAsk(6001, 7001, 600))); !want(b) {
				t.Errorf("% x", b)
			}
		}
	}
	at := func(i int, want byte) func([]byte) bool { return func(b []byte) bool { return b[i] == want } }
	size := func(want int) func([]byte) bool { return func(b []byte) bool { return len(b) == want } }
	life := func(i int, want uint32) func([]byte) bool {
		return func(b []byte) bool { return be.Uint32(b[i:]) == want }
	}
	epochs := func(want ...uint32) func(*testing.T, *Router) {
		return func(t *testing.T, r *Router) {
			for i, w := range want {
				b := one(t, r.Control(start.Add(time.Duration(i+1)*10*time.Second), client, []byte{0, 0}))
				if got := be.Uint32(b[4:]); got != w {
					t.Errorf("epoch %d after %d s, want %d", got, 10*(i+1), w)
				}
			}
		}
	}
	return map[string]func(*testing.T, *Router){
		"permanent-only":  both(code(60, 725), code(0, 0)),
		"lease-402":       both(code(60, 402), code(0, 0)),
		"lease-0-402":     both(code(0, 402), code(60, 0)),
		"conflict":        code(60, 718),
		"not-authorized":  code(60, 606),
		"action-failed":   code(60, 501),
		"wildcard-716":    code(60, 716),
		"wildcard-727":    code(60, 727),
		"upper-case-only": code(60, 0),
		"short-leases": func(t *testing.T, r *Router) {
			if r.addUDP(start, 6000, 600); len(r.Mappings(start.Add(2*time.Second))) != 0 {
				t.Error("it lives on")
			}
		},
		"no-ports": func(t *testing.T, r *Router) {
			if a, b := r.addUDP(start, 6000, 60), r.addUDP(start, 6001, 60); a != 0 || b != 728 {
				t.Errorf("codes %d, %d", a, b)
			}
			pcp(at(3, pcpNoResources))(t, r)
			pmp(at(3, pmpOutOfResources))(t, r)
		},
		"delete-714": func(t *testing.T, r *Router) {
			r.addUDP(start, 6000, 60)
			if got, _ := r.upnp(start, client, "DeletePortMapping", addArgs(6000, 0, "", "UDP", 0)); got != 714 || len(r.Mappings(start)) != 1 {
				t.Errorf("code %d", got)
			}
		},
		"no-renewal": func(t *testing.T, r *Router) {
			a, b := r.addUDP(start, 6000, 60), r.addUDP(start.Add(30*time.Second), 6000, 60)
			if n := len(r.Mappings(start.Add(time.Minute))); a != 0 || b != 0 || n != 0 {
				t.Errorf("codes %d, %d; %d mappings", a, b, n)
			}
		},
		"no-replace": func(t *testing.T, r *Router) {
			r.addUDP(start, 6000, 60)
			if got, _ := r.upnp(start, client, "AddPortMapping", addArgs(6000, 6001, client.Addr().String(), "UDP", 60)); got != 718 {
				t.Errorf("code %d", got)
			}
		},
		"remote-host-718": func(t *testing.T, r *Router) {
			args := strings.Replace(addArgs(6000, 6000, client.Addr().String(), "UDP", 60), "<NewRemoteHost>", "<NewRemoteHost>203.0.113.9", 1)
			a, _ := r.upnp(start, client, "AddPortMapping", args)
			b, _ := r.upnp(start, client, "AddPortMapping", args)
			if a != 0 || b != 718 {
				t.Errorf("codes %d, %d", a, b)
			}
		},
		"overwrites": func(t *testing.T, r *Router) {
			r.addUDP(start, 6000, 60)
			got, _ := r.upnp(start, neighbor, "AddPortMapping", addArgs(6000, 6000, neighbor.Addr().String(), "UDP", 60))
			if m := r.Mappings(start); got != 0 || len(m) != 1 || m[0].Internal.Addr() != neighbor.Addr() {
				t.Errorf("code %d, %+v", got, m)
			}
		},
		"deaf":            deafTest,
		"not-the-gateway": deafTest,
		"blind": func(t *testing.T, r *Router) {
			gw := r.cfg.Gateway.(*Memory)
			forward := Mapping{Protocol: protoUDP, External: netip.AddrPortFrom(outside, 6000), Internal: neighbor, By: Static}
			if err := r.Add(start, forward); err != nil {
				t.Fatal(err)
			}
			r.mappings = nil // the owner's forward is not one of the table
			if got := r.addUDP(start, 6000, 60); got != 0 || len(gw.forwards) != 1 {
				t.Errorf("code %d, %+v", got, gw.forwards)
			}
		},
		"external-zero":     answer("GetExternalIPAddress", "<NewExternalIPAddress>0.0.0.0<"),
		"external-empty":    answer("GetExternalIPAddress", "<NewExternalIPAddress></"),
		"external-private":  answer("GetExternalIPAddress", "<NewExternalIPAddress>192.168.178.20<"),
		"external-loopback": answer("GetExternalIPAddress", "<NewExternalIPAddress>127.0.0.1<"),
		"external-garbage":  answer("GetExternalIPAddress", "<NewExternalIPAddress>\u009b31m"),
		"disconnected":      answer("GetStatusInfo", "<NewConnectionStatus>Disconnected<"),
		"status-up":         answer("GetStatusInfo", "<NewConnectionStatus>Up<"),

		"epoch-stuck": epochs(1, 1, 1),
		"epoch-back":  epochs(10, 10, 30, 20),
		"epoch-fast":  epochs(100, 200),
		"spoofed-port": func(t *testing.T, r *Router) {
			list := r.Control(start, client, pcpAsk(pcpMap, 6000, 7000, 600))
			if len(list) != 2 || list[0].Via != ViaStranger || be.Uint16(list[0].Payload[pcpHeader+18:]) != 6666 ||
				list[1].Via != ViaControl || be.Uint16(list[1].Payload[pcpHeader+18:]) != 7000 {
				t.Errorf("%+v", list)
			}
		},
		"stranger-answers": func(t *testing.T, r *Router) {
			if list := r.Control(start, client, []byte{0, 0}); len(list) != 1 || list[0].Via != ViaStranger {
				t.Errorf("%+v", list)
			}
		},
		"wrong-nonce":           pcp(func(b []byte) bool { return !bytes.Equal(b[24:36], []byte("nonce-of-12-")) }),
		"wrong-protocol":        pcp(at(36, protoTCP)),
		"wrong-internal-port":   pcp(func(b []byte) bool { return be.Uint16(b[40:]) == 6001 }),
		"wrong-opcode":          both(pcp(at(1, 0x82)), pmp(at(1, 0x82))),
		"no-response-bit":       both(pcp(at(1, 1)), pmp(at(1, 1))),
		"short-answer":          both(pcp(size(30)), pmp(size(8))),
		"one-byte-answer":       both(pcp(size(1)), pmp(size(1))),
		"long-answer":           pcp(size(1104)),
		"odd-answer":            pcp(size(63)),
		"bad-option":            pcp(func(b []byte) bool { return bytes.Equal(b[60:], []byte{128, 0, 255, 255}) }),
		"lifetime-forever":      both(pcp(life(4, 1<<32-1)), pmp(life(12, 1<<32-1))),
		"lifetime-zero":         both(pcp(life(4, 0)), pmp(life(12, 0))),
		"external-port-zero":    both(pcp(func(b []byte) bool { return be.Uint16(b[42:]) == 0 }), pmp(func(b []byte) bool { return be.Uint16(b[10:]) == 0 })),
		"pcp-external-loopback": pcp(func(b []byte) bool { return netip.AddrFrom16([16]byte(b[44:])).Unmap().IsLoopback() }),
		"pmp-external-zero": func(t *testing.T, r *Router) {
			if b := one(t, r.Control(start, client, []byte{0, 0})); !bytes.Equal(b[8:], make([]byte, 4)) || b[3] != 0 {
				t.Errorf("% x", b)
			}
		},
		"other-port": both(pcp(func(b []byte) bool { p := be.Uint16(b[42:]); return p != 7000 && p != 0 }),
			pmp(func(b []byte) bool { p := be.Uint16(b[10:]); return p != 7001 && p != 0 })),
		"lossy": func(t *testing.T, r *Router) {
			for i, want := range []int{0, 0, 1, 1} {
				if got := len(r.Control(start, client, []byte{0, 0})); got != want {
					t.Errorf("request %d: %d answers", i, got)
				}
			}
		},
		"slow": func(t *testing.T, r *Router) {
			a, b := r.Control(start, client, []byte{0, 0}), r.Search(start, client, fmt.Appendf(nil, search, rootDevice))
			if a[0].After != 1500*time.Millisecond || b[0].After != 1500*time.Millisecond {
				t.Errorf("%+v %+v", a, b)
			}
		},
		"twice": func(t *testing.T, r *Router) {
			if n := len(r.Control(start, client, []byte{0, 0})); n != 2 {
				t.Errorf("%d answers", n)
			}
		},
		"silent-to-pcp": both(pmp(at(3, 0)), func(t *testing.T, r *Router) {
			if list := r.Control(start, client, pcpAsk(pcpAnnounce, 0, 0, 0)); list != nil {
				t.Errorf("%+v", list)
			}
		}),
		"silent-to-natpmp": both(pcp(at(3, 0)), func(t *testing.T, r *Router) {
			if list := r.Control(start, client, []byte{0, 0}); list != nil {
				t.Errorf("%+v", list)
			}
		}),
		"pcp-no-announce": func(t *testing.T, r *Router) {
			mute(t, r)
			if b := one(t, r.Control(start, client, pcpAsk(pcpAnnounce, 0, 0, 0))); b[3] != pcpUnsupportedOpcode {
				t.Errorf("% x", b)
			}
		},
		"silent-restart":        mute,
		"silent-restart-natpmp": mute,
		"silent-restart-upnp": func(t *testing.T, r *Router) {
			before := bootOf(r)
			if mute(t, r); before == "" || bootOf(r) == before {
				t.Errorf("%q is no sign", before)
			}
		},
		"silent-restart-upnp-1.0": func(t *testing.T, r *Router) {
			if mute(t, r); bootOf(r) != "" {
				t.Error("gives a sign")
			}
		},
		"third-party": func(t *testing.T, r *Router) {
			other := neighbor.Addr().As16()
			b := one(t, r.Control(start, client, pcpAsk(pcpMap, 6000, 7000, 600, option(pcpThirdParty, other[:]...)...)))
			if m := r.Mappings(start); b[3] != 0 || len(m) != 1 || m[0].Internal.Addr() != neighbor.Addr() || len(b) != 80 {
				t.Errorf("% x, %+v", b, m)
			}
		},
		"pcp-not-authorized":     pcp(at(3, 2)),
		"pcp-unsupported-opcode": pcp(at(3, 4)),
		"pcp-network-failure":    pcp(func(b []byte) bool { return b[3] == 7 && be.Uint32(b[4:]) == 30 }),
		"pcp-no-resources":       pcp(func(b []byte) bool { return b[3] == 8 && be.Uint32(b[4:]) == 30 }),
		"pcp-user-quota":         pcp(at(3, 10)),
		"pcp-address-mismatch":   pcp(at(3, 12)),
		"pmp-not-authorized":     pmp(at(3, 2)),
		"pmp-network-failure":    pmp(at(3, 3)),
		"pmp-out-of-resources":   pmp(at(3, 4)),

		"location-null":       located("http://(null):5000/rootDesc.xml"),
		"location-wrong-host": located("http://192.168.1.2:5000/rootDesc.xml"),
		"location-loopback":   located("http://127.0.0.1:5000/desc/loopback"),
		"location-name":       located("http://localhost:5000/desc/name"),
		"location-file":       located("file:///etc/passwd"),
		"location-https":      located("https://192.168.1.1:5000/rootDesc.xml"),
		"location-user":       located("http://admin:secret@192.168.1.1:5000/rootDesc.xml"),
		"location-empty":      located(""),
		"location-floating": both(located("http://192.168.1.1:5000/rootDesc.xml"), located("http://192.168.1.2:5000/rootDesc.xml"),
			located("http://192.168.1.1:5000/rootDesc.xml")),
		"search-other-port": func(t *testing.T, r *Router) {
			if list := r.Search(start, client, fmt.Appendf(nil, search, rootDevice)); len(list) != 1 || list[0].Via != ViaStranger {
				t.Errorf("%+v", list)
			}
		},
		"search-wrong-target": func(t *testing.T, r *Router) {
			if st := header(one(t, r.Search(start, client, fmt.Appendf(nil, search, rootDevice))), "ST"); !strings.Contains(st, "MediaServer") {
				t.Error(st)
			}
		},
		"parallel-searches": func(t *testing.T, r *Router) {
			for i, want := range []int{1, 0, 1} {
				at := start.Add([]time.Duration{0, 999 * time.Millisecond, 2 * time.Second}[i])
				if got := len(r.Search(at, client, fmt.Appendf(nil, search, rootDevice))); got != want {
					t.Errorf("search %d: %d answers, want %d", i, got, want)
				}
			}
		},
		"hundred-answers": func(t *testing.T, r *Router) {
			different := map[string]bool{}
			for _, d := range r.Search(start, client, fmt.Appendf(nil, search, rootDevice)) {
				different[header(d.Payload, "USN")+header(d.Payload, "LOCATION")] = true
			}
			if len(different) != 100 {
				t.Errorf("%d devices", len(different))
			}
		},
		"search-huge": func(t *testing.T, r *Router) {
			if n := len(one(t, r.Search(start, client, fmt.Appendf(nil, search, rootDevice)))); n < 8<<10 {
				t.Errorf("%d bytes", n)
			}
		},

		"control-relative":   get(descriptionPath, "<controlURL>ctl/WANIPConnection<"),
		"control-absolute":   get(descriptionPath, "<controlURL>http://192.168.1.1:5000/ctl/WANIPConnection<"),
		"control-other-host": get(descriptionPath, "<controlURL>http://192.168.1.2:5000/"),
		"control-loopback":   get(descriptionPath, "<controlURL>http://127.0.0.1:5000/"),
		"url-base":           get(descriptionPath, "<URLBase>http://192.168.1.1:5000/</URLBase>"),
		"url-base-wrong":     get(descriptionPath, "<URLBase>http://192.168.1.2:5000/</URLBase>"),
		"legacy-urn":         get(descriptionPath, "<serviceType>urn:dslforum-org:service:WANIPConnection:1<"),
		"ppp-only":           get(descriptionPath, "<controlURL>/ctl/WANPPPConnection<"),
		"redirect":           both(get(descriptionPath, "302 /desc/redirected"), get("/desc/redirected", "200")),
		"redirect-loopback":  get(descriptionPath, "302 http://127.0.0.1:5000/"),
		"redirect-loop":      get(descriptionPath, "302 "+descriptionPath),
		"description-404":    get(descriptionPath, "404"),
		"description-500":    get(descriptionPath, "500"),
		"entities":           get(descriptionPath, "<!DOCTYPE"),
		"hostile-name":       get(descriptionPath, "&lt;script&gt;"),
		"fault-200": func(t *testing.T, r *Router) {
			p := r.page(start, client, "POST", "/ctl/WANIPConnection", []byte(action("AddPortMapping", addArgs(6000, 6000, "192.168.1.2", "UDP", 60))))
			if p.status != 200 || !strings.Contains(p.body, "<errorCode>718<") {
				t.Errorf("%+v", p)
			}
		},
	}
}

// deafTest: yes, and nothing is open.
func deafTest(t *testing.T, r *Router) {
	if got := r.addUDP(start, 6000, 60); got != 0 || len(r.cfg.Gateway.(*Memory).forwards) != 0 || len(r.Mappings(start)) != 1 {
		t.Errorf("code %d, %+v", got, r.cfg.Gateway)
	}
}

// Every profile that is wrong in one thing is wrong in that thing, and the sound
// ones pass none of those tests by accident: names are unique and described.
func TestFaults(t *testing.T) {
	tests, wire := faultTests(), wireTests()
	seen := map[string]bool{}
	for _, p := range Profiles() {
		if seen[p.Name] || !strings.HasSuffix(p.Description, ".") || strings.Count(p.Description, ". ") > 0 {
			t.Errorf("%s: taken, or not described in a sentence: %q", p.Name, p.Description)
		}
		seen[p.Name] = true
		f := tests[p.Name]
		switch {
		case f != nil:
			t.Run(p.Name, func(t *testing.T) { f(t, newRouter(t, p.Name)) })
			delete(tests, p.Name)
		case p.Faulty && wire[p.Name] == nil:
			t.Errorf("%s: not tested", p.Name)
		}
	}
	for name := range tests {
		t.Errorf("%s: no such profile", name)
	}
}

// The knob that upper-case-only turns, which its row cannot show.
func TestUpperCase(t *testing.T) {
	r := newRouter(t, "upper-case-only")
	if got, _ := r.upnp(start, client, "AddPortMapping", addArgs(6000, 6000, client.Addr().String(), "udp", 60)); got != upnpInvalidArgs {
		t.Errorf("code %d", got)
	}
}
