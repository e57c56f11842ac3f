package igd

import (
	"fmt"
	"testing"
)

// Whatever comes to port 5351 is answered by nothing, or by something that has
// the response bit and no more than PCP allows.
func FuzzControl(f *testing.F) {
	for _, b := range [][]byte{{0, 0}, pmpAsk(1, 2, 3), pcpAsk(pcpAnnounce, 0, 0, 0), pcpAsk(pcpMap, 1, 2, 3, option(pcpPreferFailure)...),
		pcpAsk(pcpPeer, 1, 2, 3, make([]byte, 20)...), pcpAsk(pcpMap, 1, 2, 3, option(pcpFilter, make([]byte, 20)...)...), {3, 0}, {}} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newRouter(t, "pcp-and-natpmp")
		r.Control(start, client, pcpAsk(pcpMap, 6000, 7000, 600))
		for _, d := range r.Control(start, client, b) {
			if n := len(d.Payload); n < 8 || d.Payload[1]&0x80 == 0 && d.Payload[3] != pmpUnsupportedVersion || d.Payload[0] == pcpVersion && (n > pcpMaxLen || n%4 != 0) {
				t.Errorf("% x", d.Payload)
			}
		}
		if m := r.Mappings(start); len(m) > 2 {
			t.Errorf("one request made %d mappings", len(m)-1)
		}
	})
}

// A search is answered at most once a target, or not understood.
func FuzzSearch(f *testing.F) {
	for _, st := range []string{searchAll, rootDevice, "urn:schemas-upnp-org:device:InternetGatewayDevice:1", ""} {
		f.Add(fmt.Appendf(nil, search, st))
	}
	f.Add([]byte("M-SEARCH * HTTP/1.1\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newRouter(t, "miniupnpd")
		if n := len(r.Search(start, client, b)); n > len(r.targets()) {
			t.Errorf("%d answers", n)
		}
	})
}

// A SOAP request names an action, or is an error.
func FuzzSOAP(f *testing.F) {
	f.Add([]byte(action("AddPortMapping", addArgs(1, 2, "192.168.1.2", "UDP", 60))))
	f.Add([]byte(action("GetGenericPortMappingEntry", "<NewPortMappingIndex>0</NewPortMappingIndex>")))
	f.Add([]byte(`<!DOCTYPE a><Envelope/>`))
	f.Add([]byte(`<Envelope><Body><a><b><c/></b></a></Body></Envelope>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseSOAP(b)
		if err == nil && c.action == "" {
			t.Error("no action and no error")
		}
		r := newRouter(t, "miniupnpd")
		if p := r.page(start, client, "POST", "/ctl/WANIPConnection", b); p.status != 200 && p.status != 400 && p.status != 500 {
			t.Errorf("status %d", p.status)
		}
		for _, m := range r.Mappings(start) {
			if m.Internal.Addr() != client.Addr() {
				t.Errorf("%+v is for another client", m)
			}
		}
	})
}
