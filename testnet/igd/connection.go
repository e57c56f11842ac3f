package igd

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"shipworm/testnet/nat"
)

// maxLease is the longest lease of IGD:2 and what it makes of 0
// (WANIPConnection:2, 2.3.7).
const maxLease = 604800 * time.Second

// connection is WANIPConnection and WANPPPConnection.
func (r *Router) connection(now time.Time, client netip.Addr, c call, log *Request) ([]arg, int) {
	switch c.action {
	case "AddPortMapping":
		_, code := r.addPortMapping(now, client, c, log, false)
		return nil, code
	case "AddAnyPortMapping":
		if r.q.version < 2 {
			return nil, upnpInvalidAction
		}
		port, code := r.addPortMapping(now, client, c, log, true)
		return []arg{{"NewReservedPort", fmt.Sprint(port)}}, code
	case "DeletePortMapping":
		return nil, r.deletePortMapping(client, c, log)
	case "GetSpecificPortMappingEntry":
		return r.specific(now, c, log)
	case "GetGenericPortMappingEntry":
		return r.generic(now, c)
	case "GetListOfPortMappings":
		if r.q.version < 2 {
			return nil, upnpInvalidAction
		}
		return r.list(now, c)
	case "GetExternalIPAddress":
		addr := r.external().String()
		if r.q.externalIP != nil {
			addr = *r.q.externalIP
		}
		return []arg{{"NewExternalIPAddress", addr}}, 0
	case "GetStatusInfo":
		status := "Connected"
		if r.q.status != "" {
			status = r.q.status
		}
		return []arg{{"NewConnectionStatus", status}, {"NewLastConnectionError", "ERROR_NONE"},
			{"NewUptime", fmt.Sprint(int64(now.Sub(r.began) / time.Second))}}, 0
	case "GetConnectionTypeInfo":
		return []arg{{"NewConnectionType", "IP_Routed"}, {"NewPossibleConnectionTypes", "IP_Routed"}}, 0
	case "GetNATRSIPStatus":
		return []arg{{"NewRSIPAvailable", "0"}, {"NewNATEnabled", "1"}}, 0
	}
	return nil, upnpInvalidAction
}

// numbers reads arguments that are ports or other numbers.
func (c call) number(name string, bits int) (uint64, bool) {
	v, err := strconv.ParseUint(strings.TrimSpace(c.args[name]), 10, bits)
	return v, err == nil
}

// transport reads NewProtocol.
func (r *Router) transport(c call) byte {
	name := c.args["NewProtocol"]
	if !r.q.upperOnly {
		name = strings.ToUpper(name)
	}
	switch name {
	case "TCP":
		return protoTCP
	case "UDP":
		return protoUDP
	}
	return 0
}

// addPortMapping is AddPortMapping, or with any AddAnyPortMapping. It returns
// the external port.
func (r *Router) addPortMapping(now time.Time, client netip.Addr, c call, log *Request, any bool) (uint16, int) {
	external, ok1 := c.number("NewExternalPort", 16)
	internal, ok2 := c.number("NewInternalPort", 16)
	lease, ok3 := c.number("NewLeaseDuration", 32)
	host, err := netip.ParseAddr(c.args["NewInternalClient"])
	log.Transport = r.transport(c)
	log.External, log.Lifetime = uint16(external), time.Duration(lease)*time.Second
	log.Internal = netip.AddrPortFrom(host, uint16(internal))
	var remote netip.Prefix
	if s := c.args["NewRemoteHost"]; s != "" && s != "*" {
		a, err := netip.ParseAddr(s)
		if err != nil || !a.Is4() {
			return 0, upnpInvalidArgs
		}
		remote = netip.PrefixFrom(a, 32)
	}
	switch {
	case r.q.addError != 0:
		return 0, r.q.addError
	case !ok1, !ok2, !ok3, log.Transport == 0:
		return 0, upnpInvalidArgs
	case lease > 0 && r.q.leaseError != 0:
		return 0, r.q.leaseError
	case lease == 0 && r.q.permanentError != 0:
		return 0, r.q.permanentError
	case c.args["NewInternalClient"] == "":
		return 0, upnpActionFailed
	case err != nil || !host.Is4() || host == r.cfg.Address && host != client:
		return 0, upnpInvalidArgs
	case internal == 0:
		return 0, upnpPortWildcard
	case external == 0 && !any:
		return 0, upnpWildExternal
	case external < lowestPort && external != 0 && r.q.highOnly:
		return 0, upnpNotAuthorized
	case host != client && r.q.secureError != 0:
		return 0, r.q.secureError
	}
	m := Mapping{Protocol: log.Transport, Internal: log.Internal, Remote: remote, By: SOAP,
		External:    netip.AddrPortFrom(r.external(), uint16(external)),
		Description: c.args["NewPortMappingDescription"], Expires: r.leaseEnd(now, lease)}
	return r.place(m, any)
}

// leaseEnd is when a lease of that many seconds ends; zero is never.
func (r *Router) leaseEnd(now time.Time, lease uint64) time.Time {
	d := time.Duration(lease) * time.Second
	switch {
	case r.q.version >= 2 && (d == 0 || d > maxLease):
		d = maxLease
	case d == 0:
		return time.Time{}
	}
	if r.q.maxLease > 0 {
		d = min(d, r.q.maxLease)
	}
	return now.Add(d)
}

// place makes the mapping or renews it.
func (r *Router) place(m Mapping, any bool) (uint16, int) {
	port := m.External.Port()
	old := r.at(m.Protocol, port)
	var err error
	switch {
	case old == nil && port != 0:
		if err = r.add(m); errors.Is(err, nat.ErrPortInUse) && any {
			break
		}
		return port, addCode(err)
	case old == nil:
	case old.By == Static && !r.q.overwrites, old.Internal.Addr() != m.Internal.Addr() && !r.q.overwrites:
		if !any {
			return 0, upnpConflict
		}
	case m.Remote.IsValid() && r.q.remoteConflict:
		return 0, upnpConflict
	case old.Internal == m.Internal && old.Remote == m.Remote:
		if !r.q.noRenewal {
			old.Expires = m.Expires
		}
		old.Description = m.Description
		return port, 0
	case r.q.noReplace:
		return 0, upnpConflict
	default:
		return port, addCode(r.replace(old, m))
	}
	m.External = netip.AddrPortFrom(m.External.Addr(), r.random())
	made, err := r.pick(m, false)
	if err != nil {
		return 0, upnpNoPorts
	}
	return made.External.Port(), 0
}

func addCode(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errFull):
		return upnpNoPorts
	case errors.Is(err, errTaken), errors.Is(err, nat.ErrPortInUse):
		return upnpConflict
	}
	return upnpActionFailed
}

func (r *Router) deletePortMapping(client netip.Addr, c call, log *Request) int {
	port, ok := c.number("NewExternalPort", 16)
	log.Transport, log.External = r.transport(c), uint16(port)
	if !ok || log.Transport == 0 {
		return upnpInvalidArgs
	}
	m := r.at(log.Transport, uint16(port))
	switch {
	case m == nil && r.q.deleteAnything:
		return 0
	case m == nil || r.q.keeps:
		return upnpNoEntry
	case m.Internal.Addr() != client && (r.q.secureError != 0 || m.By == Static):
		return upnpNotAuthorized
	}
	log.Internal = m.Internal
	r.remove(m)
	return 0
}

// entry is a mapping in the words of the answers. A RemoteHost is not told, as
// miniupnpd does not either.
func entry(now time.Time, m *Mapping) (internal []arg) {
	left := int64(0)
	if !m.Expires.IsZero() {
		left = int64((m.Expires.Sub(now) + time.Second - 1) / time.Second) // 0 would be for ever
	}
	return []arg{{"NewInternalPort", fmt.Sprint(m.Internal.Port())}, {"NewInternalClient", m.Internal.Addr().String()},
		{"NewEnabled", "1"}, {"NewPortMappingDescription", m.Description}, {"NewLeaseDuration", fmt.Sprint(left)}}
}

func (r *Router) specific(now time.Time, c call, log *Request) ([]arg, int) {
	port, ok := c.number("NewExternalPort", 16)
	log.Transport, log.External = r.transport(c), uint16(port)
	if !ok || log.Transport == 0 {
		return nil, upnpInvalidArgs
	}
	m := r.at(log.Transport, uint16(port))
	if m == nil {
		return nil, upnpNoEntry
	}
	return entry(now, m), 0
}

func (r *Router) generic(now time.Time, c call) ([]arg, int) {
	i, ok := c.number("NewPortMappingIndex", 16)
	if !ok {
		return nil, upnpInvalidArgs
	}
	if i >= uint64(len(r.mappings)) {
		return nil, upnpBadIndex
	}
	m := r.mappings[i]
	head := []arg{{"NewRemoteHost", ""}, {"NewExternalPort", fmt.Sprint(m.External.Port())}, {"NewProtocol", protocolName(m.Protocol)}}
	return append(head, entry(now, m)...), 0
}

// list is GetListOfPortMappings (WANIPConnection:2, 2.5.21).
func (r *Router) list(now time.Time, c call) ([]arg, int) {
	from, ok1 := c.number("NewStartPort", 16)
	to, ok2 := c.number("NewEndPort", 16)
	protocol := r.transport(c)
	if !ok1 || !ok2 || protocol == 0 {
		return nil, upnpInvalidArgs
	}
	if from > to {
		return nil, upnpInconsistent
	}
	limit, _ := c.number("NewNumberOfPorts", 16)
	var b strings.Builder
	n := uint64(0)
	for _, m := range r.mappings {
		if p := uint64(m.External.Port()); m.Protocol != protocol || p < from || p > to || limit > 0 && n == limit {
			continue
		}
		n++
		fmt.Fprintf(&b, "<p:PortMappingEntry><p:NewRemoteHost></p:NewRemoteHost><p:NewExternalPort>%d</p:NewExternalPort><p:NewProtocol>%s</p:NewProtocol>",
			m.External.Port(), protocolName(m.Protocol))
		for _, a := range entry(now, m) {
			name := strings.Replace(strings.Replace(a.name, "NewPortMappingDescription", "NewDescription", 1), "NewLeaseDuration", "NewLeaseTime", 1)
			fmt.Fprintf(&b, "<p:%s>%s</p:%s>", name, escape(a.value), name)
		}
		b.WriteString("</p:PortMappingEntry>")
	}
	if n == 0 {
		return nil, upnpNotFound
	}
	return []arg{{"NewPortListing", `<p:PortMappingList xmlns:p="urn:schemas-upnp-org:gw:WANIPConnection">` + b.String() + `</p:PortMappingList>`}}, 0
}
