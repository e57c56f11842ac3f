package igd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const description = `<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major><minor>0</minor></specVersion>%s
<device><deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><friendlyName>Box</friendlyName>
<modelName>M</modelName><modelNumber>7</modelNumber><deviceList><device><deviceList><device><serviceList>%s</serviceList></device>
</deviceList></device></deviceList></device></root>`

func service(kind, control string) string {
	return `<service><serviceType>urn:schemas-upnp-org:service:` + kind + `</serviceType><serviceId>x</serviceId><controlURL>` + control + `</controlURL><eventSubURL>/e</eventSubURL><SCPDURL>/s</SCPDURL></service>`
}

// U-03: a control address elsewhere is no service, and a wrong URLBase does not
// lead there.
func TestControlAddress(t *testing.T) {
	tests := []struct {
		base, control string
		want          string // "" for no service
	}{
		{"", "/ctl", "http://192.168.1.1:5000/ctl"},
		{"", "ctl", "http://192.168.1.1:5000/ctl"},
		{"", "http://192.168.1.1:80/ctl", "http://192.168.1.1:80/ctl"},
		{"", "http://192.168.1.2:80/ctl", ""},
		{"", "http://127.0.0.1:80/ctl", ""},
		{"", "http://localhost/ctl", ""},
		{"", "https://192.168.1.1/ctl", ""},
		{"", "//192.168.1.2/ctl", ""},
		{"", "http://a@192.168.1.1/ctl", ""},
		{"http://192.168.1.1:81/", "/ctl", "http://192.168.1.1:81/ctl"},
		{"http://192.168.1.2:81/", "/ctl", "http://192.168.1.1:5000/ctl"},
		{"http://127.0.0.1/", "/ctl", "http://192.168.1.1:5000/ctl"},
		{"::", "/ctl", "http://192.168.1.1:5000/ctl"},
	}
	for _, tt := range tests {
		t.Run(tt.base+" "+tt.control, func(t *testing.T) {
			base := ""
			if tt.base != "" {
				base = "<URLBase>" + tt.base + "</URLBase>"
			}
			location, _ := url.Parse("http://192.168.1.1:5000/root.xml")
			c := newClient(netip.MustParseAddr("192.168.1.1"), nil)
			d, err := c.read(fmt.Appendf(nil, description, base, service("WANIPConnection:1", tt.control)), location)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if len(d.Connections) > 0 {
				got = d.Connections[0].control.String()
			}
			if got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestServices(t *testing.T) {
	all := service("WANPPPConnection:1", "/p") + service("WANIPConnection:1", "/1") + service("WANIPConnection:2", "/2") +
		service("WANIPv6FirewallControl:1", "/6") + service("Layer3Forwarding:1", "/l") + "<service></service>"
	location, _ := url.Parse("http://192.168.1.1:5000/root.xml")
	d, err := newClient(netip.MustParseAddr("192.168.1.1"), nil).read(fmt.Appendf(nil, description, "", all), location)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, s := range d.Connections {
		order = append(order, s.control.Path)
	}
	if fmt.Sprint(order) != "[/2 /1 /p]" || d.Firewall == nil || d.FriendlyName != "Box" || d.Model != "M 7" {
		t.Errorf("%v, %+v", order, d)
	}
}

// U-05: what a decoder could choke on is refused before one sees it.
func TestCheckXML(t *testing.T) {
	nest := func(n int) string { return strings.Repeat("<a>", n) + strings.Repeat("</a>", n) }
	tests := []struct {
		name, in string
		ok       bool
	}{
		{"empty", "", true},
		{"small", `<?xml version="1.0"?><a b="c">d</a>`, true},
		{"UTF-8 declared", `<?xml version="1.0" encoding="UTF-8"?><a/>`, true},
		{"utf-8 and more", `<?xml version="1.0" encoding='utf-8' standalone="yes"?><a/>`, true},
		{"depth 16", nest(16), true},
		{"depth 17", nest(17), false},
		{"depth 20,000", nest(20000), false},
		{"1,000 elements", "<r>" + strings.Repeat("<a/>", 999) + "</r>", true},
		{"1,001 elements", "<r>" + strings.Repeat("<a/>", 1000) + "</r>", false},
		{"DTD", `<!DOCTYPE a [<!ENTITY b "c">]><a/>`, false},
		{"entity", `<a>&b;</a>`, false},
		{"Latin 1", `<?xml version="1.0" encoding="ISO-8859-1"?><a/>`, false},
		{"UTF-16", `<?xml version="1.0" encoding="UTF-16"?><a/>`, false},
		{"no UTF-8", "<a>\xff</a>", false},
		{"cut", "<a><b></b>", false},
		{"closed too often", "<a></a></a>", false},
		{"text", "hello", true}, // no element: the decoder says so
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := checkXML([]byte(tt.in)); (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrXML) {
				t.Errorf("%v", err)
			}
		})
	}
}

var device = netip.MustParseAddrPort("192.168.1.1:5000")

// pipes is a listener in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.close(); return nil }
func (p *pipes) Addr() net.Addr { return net.TCPAddrFromAddrPort(device) }

// serve runs a device until the test's bubble ends. Nobody else can be dialled.
func serve(t *testing.T, h http.HandlerFunc) (*url.URL, DialFunc) {
	t.Helper()
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.closed) })
	s := &http.Server{Handler: h}
	go s.Serve(p)
	t.Cleanup(func() { s.Close() })
	return &url.URL{Scheme: "http", Host: device.String(), Path: "/root.xml"}, func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		if to != device {
			return nil, fmt.Errorf("dials %v", to)
		}
		near, far := net.Pipe()
		select {
		case p.conns <- far:
			return near, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// U-02: bounds of one request: body, headers, redirects, proxies, cookies.
func TestBounds(t *testing.T) {
	pad := func(n int) string { return fmt.Sprintf(description, "<!--"+strings.Repeat("x", n)+"-->", "") }
	whole := func(n int) string { return pad(n - len(pad(0))) }
	run := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
	}
	tests := []struct {
		name string
		h    http.HandlerFunc
		want error // nil: it is read
	}{
		{"256 KiB", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, whole(MaxBody)) }, nil},
		{"one more", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, whole(MaxBody+1)) }, ErrBody},
		{"redirect to itself", func(w http.ResponseWriter, q *http.Request) { http.Redirect(w, q, "/x", 302) }, ErrRedirect},
		{"redirect elsewhere", func(w http.ResponseWriter, q *http.Request) { http.Redirect(w, q, "http://192.0.2.1/", 307) }, ErrRedirect},
		{"no XML", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<a>") }, ErrXML},
	}
	for _, tt := range tests {
		run(tt.name, func(t *testing.T) {
			location, dial := serve(t, tt.h)
			if _, err := Describe(t.Context(), location, dial); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
	run("headers", func(t *testing.T) {
		location, dial := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", MaxHeader))
		})
		if _, err := Describe(t.Context(), location, dial); err == nil {
			t.Error("more than 16 KiB of headers were read")
		}
	})
	run("cookies", func(t *testing.T) {
		location, dial := serve(t, func(w http.ResponseWriter, q *http.Request) {
			if len(q.Cookies()) > 0 || q.Header.Get("Accept-Encoding") != "" {
				t.Errorf("headers %v", q.Header)
			}
			http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
			fmt.Fprintf(w, description, "", service("WANIPConnection:1", "/c"))
		})
		d, err := Describe(t.Context(), location, dial)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = d.Connections[0].ExternalAddress(t.Context())
	})
}

// answer is a SOAP answer with a body.
func answer(body string) string {
	return `<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>` + body + `</s:Body></s:Envelope>`
}

func fault(code int) string {
	return answer(fmt.Sprintf(`<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail><UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>%d</errorCode><errorDescription>no</errorDescription></UPnPError></detail></s:Fault>`, code))
}

// Faults come through with their code, whatever the status; the body is
// what counts.
func TestFaults(t *testing.T) {
	for _, status := range []int{200, 500} {
		synctest.Test(t, func(t *testing.T) {
			location, dial := serve(t, func(w http.ResponseWriter, q *http.Request) {
				if q.Method == http.MethodGet {
					fmt.Fprintf(w, description, "", service("WANIPConnection:1", "/c"))
					return
				}
				w.WriteHeader(status)
				fmt.Fprint(w, fault(718))
			})
			d, err := Describe(t.Context(), location, dial)
			if err != nil {
				t.Fatal(err)
			}
			err = d.Connections[0].AddPortMapping(t.Context(), PortMapping{Protocol: "UDP", External: 1, Internal: netip.MustParseAddrPort("1.2.3.4:5"), Lease: time.Hour})
			if !IsFault(err, CodeConflict) || IsFault(err, CodeNoSuchEntry) {
				t.Errorf("status %d: %v", status, err)
			}
		})
	}
}

func FuzzDescription(f *testing.F) {
	f.Add([]byte(fmt.Sprintf(description, "<URLBase>http://192.168.1.2/</URLBase>", service("WANIPConnection:1", "http://127.0.0.1/"))))
	f.Add([]byte(fmt.Sprintf(description, "", service("WANPPPConnection:1", "ctl"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		location, _ := url.Parse("http://192.168.1.1:5000/root.xml")
		d, err := newClient(netip.MustParseAddr("192.168.1.1"), nil).read(b, location)
		if err != nil {
			return
		}
		for _, s := range d.Connections {
			if s.control.Scheme != "http" || s.control.Hostname() != "192.168.1.1" {
				t.Errorf("control at %v", s.control.String())
			}
		}
	})
}

// canned is a transport that always gives the same answer.
type canned []byte

func (c canned) serve(far net.Conn) {
	defer far.Close()
	buf := make([]byte, 4096)
	if _, err := far.Read(buf); err != nil {
		return
	}
	fmt.Fprintf(far, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", len(c))
	_, _ = far.Write(c)
}

func FuzzSOAP(f *testing.F) {
	f.Add([]byte(answer(`<u:GetSpecificPortMappingEntryResponse xmlns:u="x"><NewInternalPort>1</NewInternalPort><NewInternalClient>1.2.3.4</NewInternalClient><NewLeaseDuration>5</NewLeaseDuration></u:GetSpecificPortMappingEntryResponse>`)))
	f.Add([]byte(answer(`<u:GetExternalIPAddressResponse xmlns:u="x"><NewExternalIPAddress>203.0.113.7</NewExternalIPAddress></u:GetExternalIPAddressResponse>`)))
	f.Add([]byte(fault(714)))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := newClient(netip.MustParseAddr("192.168.1.1"), func(context.Context, netip.AddrPort) (net.Conn, error) {
			near, far := net.Pipe()
			go canned(b).serve(far)
			return near, nil
		})
		s := &Service{Type: "urn:schemas-upnp-org:service:WANIPConnection:1", client: c}
		s.control.Scheme, s.control.Host = "http", "192.168.1.1"
		m, err := s.GetPortMapping(t.Context(), "UDP", 5)
		if err == nil && (!m.Internal.Addr().IsValid() || m.Lease < 0) {
			t.Errorf("%+v", m)
		}
		_, _ = s.PortMappingAt(t.Context(), 0)
		_, _ = s.ExternalAddress(t.Context())
		_, _ = s.Connected(t.Context())
		_, _ = s.AddPinhole(t.Context(), 17, netip.MustParseAddrPort("[2001:db8::1]:5"), time.Hour)
	})
}

// A refusal is told by its number, to be looked up, and in words.
func TestFaultWords(t *testing.T) {
	for code, want := range map[int]string{
		CodeConflict:    "igd: AddPortMapping: error 718, port is taken",
		CodeNoSuchIndex: "igd: AddPortMapping: error 713",
	} {
		if got := (&Fault{Action: "AddPortMapping", Code: code, Text: "\x1b[31m"}).Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
