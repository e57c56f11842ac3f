// Package igd speaks to a UPnP Internet Gateway Device: it reads a device's
// description and calls the actions of WANIPConnection 1 and 2,
// WANPPPConnection and WANIPv6FirewallControl by SOAP. The XML of both is
// github.com/huin/goupnp's; this package decides what goupnp gets to see.
//
// Everything is fetched from one address, the one that the caller found the
// device at, within bounds of size, time and nesting; redirects and addresses
// elsewhere are refused. All strings in answers are foreign: clean them before
// they are shown.
//
// Left out: finding devices (package ssdp), eventing, and the parts of the
// services that open no port.
//
//	d, err := igd.Describe(ctx, location, dial)
//	if err != nil || len(d.Connections) == 0 {
//		return err
//	}
//	err = d.Connections[0].AddPortMapping(ctx, igd.PortMapping{ ... })
package igd

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/huin/goupnp"
	"github.com/huin/goupnp/soap"
)

// Device is a root device with the services that matter here.
type Device struct {
	Addr         netip.Addr
	FriendlyName string
	Model        string
	Type         string // its URN
	// Connections are its WAN connections, the newest version first and IP
	// before PPP.
	Connections []*Service
	// Firewall is WANIPv6FirewallControl, nil if there is none.
	Firewall *Service
}

// Service is one service of a device. Its methods are safe for concurrent use.
type Service struct {
	Type    string // its URN
	control url.URL
	client  *client
}

// Describe fetches and reads the description at location. A service whose
// control address lies elsewhere is left out.
func Describe(ctx context.Context, location *url.URL, dial DialFunc) (*Device, error) {
	ip, err := netip.ParseAddr(location.Hostname())
	if err != nil {
		return nil, fmt.Errorf("igd: %q is no literal address", location.Hostname())
	}
	c := newClient(ip, dial)
	b, err := c.get(ctx, location)
	if err != nil {
		return nil, err
	}
	return c.read(b, location)
}

func (c *client) read(b []byte, location *url.URL) (*Device, error) {
	root, err := parseDescription(b)
	if err != nil {
		return nil, err
	}
	// A wrong URLBase is common (another address of the router, an old one).
	// Relative addresses then belong to where the description came from.
	base, err := url.Parse(root.URLBaseStr)
	if err != nil || root.URLBaseStr == "" || !c.owns(base) {
		base = location
	}
	root.SetURLBase(base)
	d := &Device{
		Addr: c.device, FriendlyName: root.Device.FriendlyName, Type: root.Device.DeviceType,
		Model: strings.TrimSpace(root.Device.ModelName + " " + root.Device.ModelNumber),
	}
	root.Device.VisitServices(func(s *goupnp.Service) {
		if !s.ControlURL.Ok || !c.owns(&s.ControlURL.URL) {
			return
		}
		svc := &Service{Type: s.ServiceType, control: s.ControlURL.URL, client: c}
		switch name, _ := svc.kind(); name {
		case "WANIPConnection", "WANPPPConnection":
			d.Connections = append(d.Connections, svc)
		case "WANIPv6FirewallControl":
			d.Firewall = svc
		}
	})
	slices.SortStableFunc(d.Connections, func(a, b *Service) int {
		an, av := a.kind()
		bn, bv := b.kind()
		if an != bn {
			return strings.Compare(an, bn) // IP before PPP
		}
		return strings.Compare(bv, av)
	})
	return d, nil
}

func parseDescription(b []byte) (*goupnp.RootDevice, error) {
	if err := checkXML(b); err != nil {
		return nil, err
	}
	root := new(goupnp.RootDevice)
	if err := xml.Unmarshal(b, root); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrXML, err)
	}
	return root, nil
}

// kind takes a service's URN apart, urn:domain:service:name:version. The
// domain is of no interest: older routers have a vendor's.
func (s *Service) kind() (name, version string) {
	f := strings.Split(s.Type, ":")
	if len(f) != 5 || f[0] != "urn" || f[2] != "service" {
		return "", ""
	}
	return f[3], f[4]
}

// call performs an action. in and out are pointers to structs of strings.
func (s *Service) call(ctx context.Context, action string, in, out any) error {
	sc := soap.NewSOAPClient(s.control)
	sc.HTTPClient = s.client.http
	caught := &catcher{client: s.client}
	sc.HTTPClient.Transport = caught
	err := sc.PerformActionCtx(ctx, s.Type, action, in, out)
	if err == nil {
		return nil
	}
	if fault, ok := err.(*soap.SOAPFaultError); ok {
		return &Fault{Action: action, Code: fault.Detail.UPnPError.Errorcode, Text: fault.Detail.UPnPError.ErrorDescription}
	}
	if caught.err != nil { // goupnp's own error has lost it
		err = caught.err
	}
	return fmt.Errorf("igd: %s: %w", action, err)
}
