package igd

import (
	"fmt"
	"strings"
)

// Paths of the web server. Control URLs follow from the service's name.
const (
	descriptionPath = "/rootDesc.xml"
	controlPath     = "/ctl/"
	servicePath     = "/scpd/"
)

// A service of the description.
type service struct {
	name string // WANIPConnection
	urn  string
	id   string
}

// services are those that the router describes.
func (r *Router) services() []service {
	var list []service
	add := func(name string, version int, id string) {
		list = append(list, service{name, r.urn("service", name, version), id})
	}
	add("WANCommonInterfaceConfig", 1, "WANCommonIFC1")
	if !r.q.ppp || r.q.ppp && r.q.both {
		add("WANIPConnection", r.q.version, "WANIPConn1")
	}
	if r.q.ppp {
		add("WANPPPConnection", 1, "WANPPPConn1")
	}
	if r.q.version >= 2 && !r.q.noFirewall {
		add("WANIPv6FirewallControl", 1, "WANIPv6Firewall1")
	}
	return list
}

// description is the document at LOCATION (UPnP Device Architecture 1.1, 2.3).
func (r *Router) description() string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0"?>` + "\n" + r.q.dtd +
		`<root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major><minor>1</minor></specVersion>`)
	if r.q.urlBase != "" {
		fmt.Fprintf(&b, "<URLBase>%s</URLBase>", r.fill(r.q.urlBase))
	}
	depth := 0
	device := func(kind string) {
		fmt.Fprintf(&b, "<device><deviceType>%s</deviceType><friendlyName>%s</friendlyName><manufacturer>shipworm</manufacturer><manufacturerURL>http://shipworm.invalid/</manufacturerURL>"+
			"<modelDescription>%s</modelDescription><modelName>testnet</modelName><modelNumber>1</modelNumber><serialNumber>1</serialNumber><UDN>%s</UDN>",
			r.urn("device", kind, r.q.version), r.friendlyName(), escape(r.cfg.Profile.Name), r.uuid(depth))
		depth++
	}
	services := r.services()
	list := func(s []service) {
		b.WriteString("<serviceList>")
		for _, x := range s {
			fmt.Fprintf(&b, "<service><serviceType>%s</serviceType><serviceId>urn:upnp-org:serviceId:%s</serviceId><SCPDURL>%s%s.xml</SCPDURL><controlURL>%s</controlURL><eventSubURL>/evt/%s</eventSubURL></service>",
				x.urn, x.id, servicePath, x.name, r.controlURL(x.name), x.name)
		}
		b.WriteString("</serviceList>")
	}
	device("InternetGatewayDevice")
	b.WriteString("<deviceList>")
	device("WANDevice")
	list(services[:1])
	b.WriteString("<deviceList>")
	device("WANConnectionDevice")
	list(services[1:])
	b.WriteString("</device></deviceList></device></deviceList>")
	fmt.Fprintf(&b, "<presentationURL>/</presentationURL></device></root>\n")
	return b.String()
}

func (r *Router) friendlyName() string {
	if r.q.friendlyName != "" {
		return r.q.friendlyName // an attack on whoever prints it: not escaped
	}
	return "shipworm testnet router"
}

func (r *Router) controlURL(name string) string {
	form := r.q.controlURL
	if form == "" {
		form = controlPath + "{service}"
	}
	return r.fill(strings.ReplaceAll(form, "{service}", name))
}

// escape makes text safe inside XML.
func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(s)
}
