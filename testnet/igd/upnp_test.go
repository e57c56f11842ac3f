package igd

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// The answers of miniupnpd 2.3.1 to odd requests, as they were measured.
func TestMiniupnpdAnswers(t *testing.T) {
	self, other := client.Addr().String(), neighbor.Addr().String()
	args := func(external, internal int, host, protocol string, lease int, change ...string) string {
		return strings.NewReplacer(change...).Replace(addArgs(external, internal, host, protocol, lease))
	}
	for _, tt := range []struct {
		name, action, args string
		code               int
		want               string // of the mappings, or of the answer
	}{
		{"lease 0 is a week", "AddPortMapping", args(7000, 6000, self, "UDP", 0), 0, "UDP 7000 to 192.168.1.2:6000 604800"},
		{"a long lease is a week", "AddPortMapping", args(7000, 6000, self, "UDP", 1e7), 0, "UDP 7000 to 192.168.1.2:6000 604800"},
		{"refresh", "AddPortMapping", args(5000, 6000, self, "UDP", 99), 0, "UDP 5000 to 192.168.1.2:6000 99"},
		{"another internal port replaces", "AddPortMapping", args(5000, 6001, self, "UDP", 99), 0, "UDP 5000 to 192.168.1.2:6001 99"},
		{"AddAny replaces too", "AddAnyPortMapping", args(5000, 6001, self, "UDP", 99), 0, "<NewReservedPort>5000<"},
		{"another client's port", "AddPortMapping", args(5001, 6000, self, "UDP", 60), 718, ""},
		{"AddAny beside another client's port", "AddAnyPortMapping", args(5001, 6000, self, "UDP", 60), 0, "<NewReservedPort>"},
		{"for another client", "AddPortMapping", args(7000, 6000, other, "UDP", 60), 718, ""},
		{"external port 0", "AddPortMapping", args(0, 6000, self, "UDP", 60), 716, ""},
		{"internal port 0", "AddPortMapping", args(7000, 0, self, "UDP", 60), 732, ""},
		{"no client", "AddPortMapping", args(7000, 6000, "", "UDP", 60), 501, ""},
		{"lower case", "AddPortMapping", args(7000, 6000, self, "udp", 60), 0, "UDP 7000 to 192.168.1.2:6000 60"},
		{"no protocol", "AddPortMapping", args(7000, 6000, self, "", 60), 402, ""},
		{"port of a service", "AddPortMapping", args(80, 6000, self, "TCP", 60), 606, ""},
		{"port 65536", "AddPortMapping", args(65536, 6000, self, "UDP", 60), 402, ""},
		{"remote host", "AddPortMapping", args(7000, 6000, self, "UDP", 60, "<NewRemoteHost>", "<NewRemoteHost>203.0.113.9"), 0, "UDP 7000 to 192.168.1.2:6000 60 from 203.0.113.9/32"},
		{"disabled is enabled", "AddPortMapping", args(7000, 6000, self, "UDP", 60, "<NewEnabled>1", "<NewEnabled>0"), 0, "UDP 7000 to 192.168.1.2:6000 60"},
		{"quotes", "AddPortMapping", args(7000, 6000, self, "UDP", 60, ">test<", `>"é" &lt;b&gt;<`), 0, "UDP 7000 to 192.168.1.2:6000 60"},
		{"delete", "DeletePortMapping", args(5000, 0, "", "UDP", 0), 0, ""},
		{"delete what is not there", "DeletePortMapping", args(7000, 0, "", "UDP", 0), 0, ""},
		{"delete another client's", "DeletePortMapping", args(5001, 0, "", "UDP", 0), 606, ""},
		{"specific", "GetSpecificPortMappingEntry", args(5001, 0, "", "UDP", 0), 0, "<NewInternalPort>40000</NewInternalPort><NewInternalClient>192.168.1.3</NewInternalClient><NewEnabled>1</NewEnabled><NewPortMappingDescription>a&lt;b</NewPortMappingDescription><NewLeaseDuration>60<"},
		{"specific, TCP", "GetSpecificPortMappingEntry", args(5001, 0, "", "TCP", 0), 714, ""},
		{"generic", "GetGenericPortMappingEntry", "<NewPortMappingIndex>1</NewPortMappingIndex>", 0, "<NewExternalPort>5001<"},
		{"generic, behind the end", "GetGenericPortMappingEntry", "<NewPortMappingIndex>2</NewPortMappingIndex>", 713, ""},
		{"generic, no number", "GetGenericPortMappingEntry", "<NewPortMappingIndex>x</NewPortMappingIndex>", 402, ""},
		{"address", "GetExternalIPAddress", "", 0, "<NewExternalIPAddress>203.0.113.7<"},
		{"status", "GetStatusInfo", "", 0, "<NewConnectionStatus>Connected<"},
		{"unknown action", "Reboot", "", 401, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRouter(t, "miniupnpd")
			for _, m := range []Mapping{
				{External: netip.AddrPortFrom(outside, 5000), Internal: netip.MustParseAddrPort("192.168.1.2:6000")},
				{External: netip.AddrPortFrom(outside, 5001), Internal: neighbor, Description: "a<b"},
			} {
				m.Protocol, m.By, m.Expires = protoUDP, SOAP, start.Add(time.Minute)
				if err := r.Add(start, m); err != nil {
					t.Fatal(err)
				}
			}
			code, body := r.upnp(start, client, tt.action, tt.args)
			var all []string
			for _, m := range r.Mappings(start) {
				line := fmt.Sprintf("%s %d to %v %d", protocolName(m.Protocol), m.External.Port(), m.Internal, m.Expires.Sub(start)/time.Second)
				if m.Remote.IsValid() {
					line += fmt.Sprintf(" from %v", m.Remote)
				}
				all = append(all, line)
			}
			text := strings.Join(all, "\n") + "\n" + body
			if code != tt.code || !strings.Contains(text, tt.want) {
				t.Errorf("code %d, want %d and %q in\n%s", code, tt.code, tt.want, text)
			}
			if code != 0 && (!strings.Contains(body, fmt.Sprintf("<errorCode>%d</errorCode>", code)) || len(all) != 2) {
				t.Errorf("mappings %v, answer\n%s", all, body)
			}
		})
	}
}

// IGD:1 has permanent leases, port 80 and mappings for others, and no
// AddAnyPortMapping; a mapping of another client stays.
func TestIGD1(t *testing.T) {
	r := newRouter(t, "igd1")
	code, _ := r.upnp(start, client, "AddPortMapping", addArgs(80, 8080, neighbor.Addr().String(), "TCP", 0))
	if m := r.Mappings(start.Add(10000 * time.Hour)); code != 0 || len(m) != 1 || !m[0].Expires.IsZero() {
		t.Errorf("code %d, %+v", code, m)
	}
	if code, _ := r.upnp(start, client, "AddPortMapping", addArgs(80, 8080, client.Addr().String(), "TCP", 0)); code != upnpConflict {
		t.Errorf("code %d for the port of another", code)
	}
	if code, _ := r.upnp(start, client, "AddAnyPortMapping", addArgs(81, 81, client.Addr().String(), "TCP", 0)); code != upnpInvalidAction {
		t.Errorf("code %d for an action of IGD:2", code)
	}
}

// Searches: which targets are answered, by whom and where the description is.
func TestSearch(t *testing.T) {
	for target, want := range map[string]int{
		searchAll: 8, rootDevice: 1, "uuid:73686970-776f-726d-8000-0000c0a80101": 1,
		"urn:schemas-upnp-org:device:InternetGatewayDevice:1": 1, "urn:schemas-upnp-org:device:InternetGatewayDevice:2": 1,
		"urn:schemas-upnp-org:device:InternetGatewayDevice:3": 0, "urn:schemas-upnp-org:service:WANIPConnection:1": 1,
		"urn:schemas-upnp-org:service:WANPPPConnection:1": 0, "urn:schemas-upnp-org:device:MediaServer:1": 0,
	} {
		r := newRouter(t, "miniupnpd")
		list := r.Search(start, client, fmt.Appendf(nil, search, target))
		if len(list) != want {
			t.Errorf("%s: %d answers, want %d", target, len(list), want)
		}
		for _, d := range list {
			if header(d.Payload, "LOCATION") != "http://192.168.1.1:5000/rootDesc.xml" || d.To != client || d.Via != ViaSearch ||
				target != searchAll && header(d.Payload, "ST") != target {
				t.Errorf("%s: %+v\n%s", target, d, d.Payload)
			}
		}
	}
	r := newRouter(t, "miniupnpd")
	for _, bad := range []string{"", "GET / HTTP/1.1\r\n\r\n", "M-SEARCH * HTTP/1.1\r\nST: ssdp:all\r\n\r\n",
		fmt.Sprintf(search, "ssdp:all") + strings.Repeat("x", maxSearch)} {
		if list := r.Search(start, client, []byte(bad)); len(list) != 0 {
			t.Errorf("%.20q was answered", bad)
		}
	}
}

// A start and a restart are announced to the groups of SSDP, NAT-PMP and PCP,
// the end to SSDP's.
func TestAnnounce(t *testing.T) {
	r := newRouter(t, "miniupnpd")
	r.addUDP(start, 6000, 60)
	kinds := func(list []Datagram) (pcp, pmp, alive, bye int) {
		for _, d := range list {
			switch {
			case d.To == ControlGroup && d.Payload[0] == pcpVersion && len(d.Payload) == pcpHeader && d.Payload[1] == 0x80:
				pcp++
			case d.To == ControlGroup && len(d.Payload) == 12 && d.Payload[1] == 0x80:
				pmp++
			case d.To == SearchGroup && header(d.Payload, "NTS") == "ssdp:alive":
				alive++
			case d.To == SearchGroup && header(d.Payload, "NTS") == "ssdp:byebye":
				bye++
			}
		}
		return pcp, pmp, alive, bye
	}
	if a, b, c, d := kinds(r.Start(start)); a != 1 || b != 1 || c != 8 || d != 0 {
		t.Errorf("start: %d PCP, %d NAT-PMP, %d alive, %d byebye", a, b, c, d)
	}
	if a, b, c, d := kinds(r.Reboot(start.Add(time.Hour))); a != 1 || b != 1 || c != 8 || d != 0 {
		t.Errorf("restart: %d PCP, %d NAT-PMP, %d alive, %d byebye", a, b, c, d)
	}
	if m := r.Mappings(start.Add(time.Hour)); len(m) != 0 {
		t.Errorf("mappings after a restart: %+v", m)
	}
	if a, b, c, d := kinds(r.Goodbye()); a != 0 || b != 0 || c != 0 || d != 8 {
		t.Errorf("end: %d PCP, %d NAT-PMP, %d alive, %d byebye", a, b, c, d)
	}
	strict := newRouter(t, "pcp-only")
	if list := strict.Start(start); len(list) != announcements || list[9].After != 127750*time.Millisecond {
		t.Errorf("%d announcements, the last after %v", len(list), list[len(list)-1].After)
	}
}
