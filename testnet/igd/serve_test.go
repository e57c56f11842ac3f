package igd

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

const search = "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: %s\r\n\r\n"

// header returns a header of an SSDP answer.
func header(answer []byte, name string) string {
	for line := range strings.Lines(string(answer)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(key, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func action(name, args string) string {
	return fmt.Sprintf(`<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><u:%s xmlns:u="urn:schemas-upnp-org:service:WANIPConnection:1">%s</u:%[1]s></s:Body></s:Envelope>`, name, args)
}

func addArgs(external, internal int, host, protocol string, lease int) string {
	return fmt.Sprintf("<NewRemoteHost></NewRemoteHost><NewExternalPort>%d</NewExternalPort><NewProtocol>%s</NewProtocol><NewInternalPort>%d</NewInternalPort><NewInternalClient>%s</NewInternalClient><NewEnabled>1</NewEnabled><NewPortMappingDescription>test</NewPortMappingDescription><NewLeaseDuration>%d</NewLeaseDuration>",
		external, protocol, internal, host, lease)
}

// Over real sockets: search, description, control, NAT-PMP and PCP.
func TestServe(t *testing.T) {
	s := serve(t, "miniupnpd")
	answer := ask(t, s.search, fmt.Appendf(nil, search, "urn:schemas-upnp-org:device:InternetGatewayDevice:1"))
	location := header(answer, "LOCATION")
	res, err := http.Get(location)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || !bytes.Contains(body, []byte("<controlURL>/ctl/WANIPConnection</controlURL>")) {
		t.Fatalf("%v, description:\n%s", err, body)
	}
	control := strings.TrimSuffix(location, descriptionPath) + "/ctl/WANIPConnection"
	res, err = http.Post(control, xmlType, strings.NewReader(action("AddPortMapping", addArgs(5000, 6000, "127.0.0.1", "UDP", 60))))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 {
		t.Error(res.Status)
	}
	if b := ask(t, s.control, []byte{0, 0}); len(b) != 12 || b[1] != 128 || b[3] != 0 {
		t.Errorf("NAT-PMP: % x", b)
	}
	m := s.Mappings(time.Now())
	if len(m) != 1 || m[0].External.Port() != 5000 || m[0].Internal.Port() != 6000 {
		t.Errorf("mappings %+v", m)
	}
	if err := s.server.Reboot(); err != nil {
		t.Error(err)
	}
	if m := s.Mappings(time.Now()); len(m) != 0 {
		t.Errorf("mappings after a reboot %+v", m)
	}
	var log []string
	for _, q := range s.Requests() {
		log = append(log, q.Protocol+" "+q.Action)
	}
	if got, want := strings.Join(log, ", "), "ssdp urn:schemas-upnp-org:device:InternetGatewayDevice:1, http GET /rootDesc.xml, soap AddPortMapping, nat-pmp external address"; got != want {
		t.Errorf("log %q, want %q", got, want)
	}
}
