package igd

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"
)

// Bounds of a SOAP request.
const (
	maxSOAP     = 64 << 10 // bytes
	maxSOAPArgs = 32
)

// errNotSOAP reports a body that is no SOAP request.
var errNotSOAP = errors.New("igd: not a SOAP request")

// A call is a SOAP request.
type call struct {
	urn    string // of the service
	action string
	args   map[string]string
}

// parseSOAP reads the body of a control request (UPnP Device Architecture 1.1,
// 3.2.1). The prefixes of the names do not matter.
func parseSOAP(b []byte) (c call, err error) {
	if len(b) > maxSOAP {
		return c, fmt.Errorf("%w: %d bytes", errNotSOAP, len(b))
	}
	d := xml.NewDecoder(bytes.NewReader(b))
	c.args = make(map[string]string)
	depth, name := 0, ""
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) && c.action != "" && depth == 0 {
			return c, nil
		}
		if err != nil {
			return c, fmt.Errorf("%w: %w", errNotSOAP, err)
		}
		switch t := token.(type) {
		case xml.Directive:
			return c, fmt.Errorf("%w: a document type", errNotSOAP)
		case xml.StartElement:
			depth++
			switch {
			case depth == 1 && t.Name.Local != "Envelope", depth == 2 && t.Name.Local != "Body" && t.Name.Local != "Header", depth > 4, len(c.args) >= maxSOAPArgs:
				return c, fmt.Errorf("%w: <%s> at depth %d", errNotSOAP, t.Name.Local, depth)
			case depth == 3 && c.action == "":
				c.urn, c.action = t.Name.Space, t.Name.Local
			case depth == 4:
				name = t.Name.Local
				c.args[name] = ""
			}
		case xml.EndElement:
			depth--
			name = ""
		case xml.CharData:
			if depth == 4 && name != "" {
				c.args[name] += string(t)
			}
		}
	}
}

// UPnP errors (UPnP Device Architecture 1.1, 3.2.2; WANIPConnection:2, 2.5).
const (
	upnpInvalidAction = 401
	upnpInvalidArgs   = 402
	upnpActionFailed  = 501
	upnpNotAuthorized = 606
	upnpBadIndex      = 713
	upnpNoEntry       = 714
	upnpWildExternal  = 716
	upnpConflict      = 718
	upnpPermanentOnly = 725
	upnpPortsWildcard = 727
	upnpNoPorts       = 728
	upnpNotFound      = 730
	upnpPortWildcard  = 732
	upnpInconsistent  = 733
)

// upnpText is the description of an error.
func upnpText(code int) string {
	text := map[int]string{
		upnpInvalidAction: "Invalid Action", upnpInvalidArgs: "Invalid Args", upnpNotAuthorized: "Action not authorized",
		upnpBadIndex: "SpecifiedArrayIndexInvalid", upnpNoEntry: "NoSuchEntryInArray",
		upnpWildExternal: "WildCardNotPermittedInExtPort", upnpConflict: "ConflictInMappingEntry",
		upnpPermanentOnly: "OnlyPermanentLeasesSupported", upnpPortsWildcard: "ExternalPortOnlySupportsWildcard",
		upnpNoPorts: "NoPortMapsAvailable", upnpNotFound: "PortMappingNotFound", upnpPortWildcard: "WildCardNotPermittedInIntPort",
		upnpInconsistent: "InconsistentParameters",
	}[code]
	if text == "" {
		return "Action Failed"
	}
	return text
}

// An arg is a name and value of an answer, in order.
type arg struct{ name, value string }

const envelope = `<?xml version="1.0"?>` + "\n" +
	`<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>%s</s:Body></s:Envelope>` + "\n"

func soapAnswer(c call, out []arg) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<u:%sResponse xmlns:u="%s">`, c.action, escape(c.urn))
	for _, a := range out {
		fmt.Fprintf(&b, "<%s>%s</%s>", a.name, escape(a.value), a.name)
	}
	fmt.Fprintf(&b, "</u:%sResponse>", c.action)
	return fmt.Sprintf(envelope, b.String())
}

func soapFault(code int) string {
	return fmt.Sprintf(envelope, fmt.Sprintf(`<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail><UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>%d</errorCode><errorDescription>%s</errorDescription></UPnPError></detail></s:Fault>`, code, upnpText(code)))
}

// soap carries an action out. from is the client.
func (r *Router) soap(now time.Time, from netip.AddrPort, name string, body []byte) page {
	c, err := parseSOAP(body)
	if err != nil {
		return page{status: 400, kind: "text/plain", body: err.Error() + "\n"}
	}
	log := Request{Time: now, From: from, Protocol: SOAP, Action: c.action}
	var out []arg
	code := upnpInvalidAction
	for _, s := range r.services() {
		if s.name == name && (s.urn == c.urn || olderVersion(c.urn, s.urn)) {
			out, code = r.act(now, from.Addr(), name, c, &log)
		}
	}
	log.Result = code
	r.record(log)
	if code == 0 {
		return page{status: 200, kind: xmlType, body: soapAnswer(c, out)}
	}
	status := 500
	if r.q.faultStatus != 0 {
		status = r.q.faultStatus
	}
	return page{status: status, kind: xmlType, body: soapFault(code)}
}

// act is the list of all actions.
func (r *Router) act(now time.Time, client netip.Addr, service string, c call, log *Request) ([]arg, int) {
	switch service {
	case "WANIPConnection", "WANPPPConnection":
		return r.connection(now, client, c, log)
	case "WANCommonInterfaceConfig":
		return common(c)
	case "WANIPv6FirewallControl":
		return r.firewallControl(now, c)
	}
	return nil, upnpInvalidAction
}

// common tells about the uplink, which nobody measures.
func common(c call) ([]arg, int) {
	switch c.action {
	case "GetCommonLinkProperties":
		return []arg{{"NewWANAccessType", "Ethernet"}, {"NewLayer1UpstreamMaxBitRate", "100000000"},
			{"NewLayer1DownstreamMaxBitRate", "100000000"}, {"NewPhysicalLinkStatus", "Up"}}, 0
	case "GetTotalBytesSent", "GetTotalBytesReceived", "GetTotalPacketsSent", "GetTotalPacketsReceived":
		return []arg{{"New" + strings.TrimPrefix(c.action, "Get"), "0"}}, 0
	}
	return nil, upnpInvalidAction
}
