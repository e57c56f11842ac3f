// Package ssdp has the messages of the Simple Service Discovery Protocol (UPnP
// Device Architecture 1.1, 1): the search for a device, its answers, and its
// announcements.
//
// A LAN is hostile until shown otherwise, so a Message says nothing about
// where to connect: Locate does, and it accepts a LOCATION only at the address
// that the message came from. Serving and subscribing are left out for good.
//
//	packet := ssdp.AppendSearch(nil, ssdp.Group4(), "upnp:rootdevice", 1)
//	...
//	m, err := ssdp.Parse(answer)
//	if err == nil && m.Kind == ssdp.Answer {
//		location, err := ssdp.Locate(m.Location, from, onLink)
//	}
package ssdp

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// MaxLen is the length in octets up to which a message is looked at.
const MaxLen = 2048

// Port is where devices listen and announce.
const Port = 1900

// Kind tells messages apart.
type Kind uint8

// Kinds of messages from devices.
const (
	Answer Kind = iota + 1 // HTTP/1.1 200 to a search
	Alive                  // NOTIFY ssdp:alive or ssdp:update
	ByeBye                 // NOTIFY ssdp:byebye
)

// Message is a device's answer or announcement. Its strings are foreign.
type Message struct {
	Kind     Kind
	Target   string // ST of an answer, NT of an announcement
	USN      string
	Location string
	Server   string
	Boot     string // differs after each start of the device; "" if it tells none
}

// Errors of Parse.
var (
	ErrLength = errors.New("ssdp: longer than 2048 octets")
	ErrKind   = errors.New("ssdp: neither an answer nor an announcement")
)

// AppendSearch appends an M-SEARCH for target to b. The host is where it is
// sent; wait is how many seconds a device may take to answer.
func AppendSearch(b []byte, host netip.AddrPort, target string, wait int) []byte {
	return fmt.Appendf(b, "M-SEARCH * HTTP/1.1\r\nHOST: %v\r\nMAN: \"ssdp:discover\"\r\nMX: %d\r\nST: %s\r\n\r\n", host, wait, target)
}

// Parse reads a message from a device. Of headers that come more than once the
// first counts. It keeps nothing of b.
func Parse(b []byte) (Message, error) {
	if len(b) > MaxLen {
		return Message{}, ErrLength
	}
	line, rest, _ := bytes.Cut(b, []byte("\n"))
	var m Message
	target := "st"
	start := strings.Fields(string(line))
	switch {
	case len(start) >= 2 && strings.HasPrefix(start[0], "HTTP/1.") && start[1] == "200":
		m.Kind = Answer
	case len(start) == 3 && start[0] == "NOTIFY" && start[1] == "*":
		target = "nt"
	default:
		return Message{}, ErrKind
	}
	headers := map[string]string{}
	for line := range bytes.Lines(rest) {
		name, value, ok := strings.Cut(strings.TrimRight(string(line), "\r\n"), ":")
		if name = strings.ToLower(strings.TrimSpace(name)); name == "" || !ok {
			continue
		}
		if _, double := headers[name]; !double {
			headers[name] = strings.TrimSpace(value)
		}
	}
	if m.Kind != Answer {
		switch headers["nts"] {
		case "ssdp:alive", "ssdp:update":
			m.Kind = Alive
		case "ssdp:byebye":
			m.Kind = ByeBye
		default:
			return Message{}, ErrKind
		}
	}
	m.Target, m.USN, m.Location, m.Server = headers[target], headers["usn"], headers["location"], headers["server"]
	// BOOTID.UPNP.ORG is of UPnP Device Architecture 1.1, 1.2.2; NLS is what
	// libupnp has for UPnP 1.0.
	m.Boot = cmp.Or(headers["bootid.upnp.org"], headers["01-nls"])
	return m, nil
}

// LocationError says why a LOCATION is not followed.
type LocationError struct {
	Location string // as it came: foreign
	Reason   string
}

func (e *LocationError) Error() string {
	return fmt.Sprintf("ssdp: location %q: %s", e.Location, e.Reason)
}

// Locate returns the address of a description, if location is plain http at
// the very address that the message came from, which must be on the link.
// Anything else could make us ask a third party for something.
func Locate(location string, from netip.Addr, onLink netip.Prefix) (*url.URL, error) {
	fail := func(reason string) (*url.URL, error) { return nil, &LocationError{location, reason} }
	u, err := url.Parse(location)
	if err != nil || u.Scheme != "http" || u.User != nil || u.Opaque != "" {
		return fail("no plain http address")
	}
	host, err := netip.ParseAddr(u.Hostname())
	switch {
	case err != nil:
		return fail("its host is no literal address")
	case host.WithZone("") != from.WithZone(""):
		return fail(fmt.Sprintf("it did not come from there but from %v", from))
	case host.IsLoopback() || host.IsUnspecified() || host.IsMulticast():
		return fail("its host is no unicast address of a network")
	case !onLink.Contains(host.WithZone("")) && !host.IsLinkLocalUnicast():
		return fail(fmt.Sprintf("not on the link %v", onLink))
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return fail("bad port")
		}
	}
	return u, nil
}

// Group4 is where searches go and announcements come from on IPv4.
func Group4() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{239, 255, 255, 250}), Port)
}

// Group6 is the same on IPv6, on the link of a zone.
func Group6(zone string) netip.AddrPort {
	a := [16]byte{0: 0xff, 1: 0x02, 15: 0x0c}
	return netip.AddrPortFrom(netip.AddrFrom16(a).WithZone(zone), Port)
}
