package igd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Codes of faults (WANIPConnection:2, 2.5; WANIPv6FirewallControl:1, 2.6).
const (
	CodeInvalidArgs        = 402
	CodeActionFailed       = 501
	CodeNotAuthorized      = 606
	CodeNoSuchPinhole      = 704
	CodeNoSuchIndex        = 713
	CodeNoSuchEntry        = 714
	CodeNoWildcardPort     = 716
	CodeConflict           = 718
	CodeSamePortRequired   = 724
	CodePermanentLeaseOnly = 725
	CodeNoPortMaps         = 728
	CodeConflictsWithOther = 729
)

// Fault is a device's refusal of an action.
type Fault struct {
	Action string
	Code   int
	Text   string // the device's words: foreign
}

func (e *Fault) Error() string {
	s := fmt.Sprintf("igd: %s: error %d", e.Action, e.Code)
	if word := faultWord(e.Code); word != "" {
		s += ", " + word
	}
	return s
}

// faultWord says what the codes mean that AddPortMapping comes to, "" for others.
func faultWord(code int) string {
	switch code {
	case CodeInvalidArgs:
		return "invalid arguments"
	case CodeActionFailed:
		return "action failed"
	case CodeNotAuthorized:
		return "not authorized"
	case CodeNoWildcardPort:
		return "external port must be given"
	case CodeConflict, CodeConflictsWithOther:
		return "port is taken"
	case CodeSamePortRequired:
		return "ports must be the same"
	case CodePermanentLeaseOnly:
		return "permanent mappings only"
	case CodeNoPortMaps:
		return "no room for more"
	}
	return ""
}

// IsFault reports whether err is a Fault with one of the codes.
func IsFault(err error, codes ...int) bool {
	var f *Fault
	if !errors.As(err, &f) {
		return false
	}
	for _, c := range codes {
		if f.Code == c {
			return true
		}
	}
	return false
}

// ErrAnswer is wrapped by answers that make no sense.
var ErrAnswer = errors.New("igd: senseless answer")

// PortMapping is an entry of a device's table.
type PortMapping struct {
	Protocol    string // TCP or UDP, in capitals
	External    uint16
	Internal    netip.AddrPort
	Description string
	Lease       time.Duration // whole seconds, 0 is for ever
	Enabled     bool
	RemoteHost  string // empty: everybody
}

// AddPortMapping makes an entry or renews it.
func (s *Service) AddPortMapping(ctx context.Context, m PortMapping) error {
	return s.call(ctx, "AddPortMapping", &struct {
		NewRemoteHost, NewExternalPort, NewProtocol, NewInternalPort, NewInternalClient string
		NewEnabled, NewPortMappingDescription, NewLeaseDuration                         string
	}{
		"", port(m.External), m.Protocol, port(m.Internal.Port()), m.Internal.Addr().String(),
		"1", m.Description, seconds(m.Lease),
	}, nil)
}

// DeletePortMapping removes an entry. It is no error if there is none.
func (s *Service) DeletePortMapping(ctx context.Context, protocol string, external uint16) error {
	err := s.call(ctx, "DeletePortMapping", &struct{ NewRemoteHost, NewExternalPort, NewProtocol string }{"", port(external), protocol}, nil)
	if IsFault(err, CodeNoSuchEntry) {
		return nil
	}
	return err
}

// entryAnswer is what both queries of the table return.
type entryAnswer struct {
	NewRemoteHost, NewExternalPort, NewProtocol, NewInternalPort, NewInternalClient string
	NewEnabled, NewPortMappingDescription, NewLeaseDuration                         string
}

func (a *entryAnswer) mapping() (PortMapping, error) {
	ip, err1 := netip.ParseAddr(strings.TrimSpace(a.NewInternalClient))
	in, err2 := parsePort(a.NewInternalPort)
	lease, err3 := strconv.ParseUint(strings.TrimSpace(a.NewLeaseDuration), 10, 32)
	if a.NewLeaseDuration == "" {
		lease, err3 = 0, nil
	}
	if err := errors.Join(err1, err2, err3); err != nil {
		return PortMapping{}, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return PortMapping{
		Internal: netip.AddrPortFrom(ip, in), Description: a.NewPortMappingDescription, RemoteHost: a.NewRemoteHost,
		Lease: time.Duration(lease) * time.Second, Enabled: a.NewEnabled == "1" || strings.EqualFold(a.NewEnabled, "true"),
	}, nil
}

// GetPortMapping returns the entry of an external port. There is none if the
// error is a Fault of CodeNoSuchEntry.
func (s *Service) GetPortMapping(ctx context.Context, protocol string, external uint16) (PortMapping, error) {
	var out entryAnswer
	err := s.call(ctx, "GetSpecificPortMappingEntry", &struct{ NewRemoteHost, NewExternalPort, NewProtocol string }{"", port(external), protocol}, &out)
	if err != nil {
		return PortMapping{}, err
	}
	m, err := out.mapping()
	m.Protocol, m.External = protocol, external
	return m, err
}

// PortMappingAt returns an entry by its index in the table. The table has ended
// if the error is a Fault of CodeNoSuchIndex, or CodeInvalidArgs of some.
func (s *Service) PortMappingAt(ctx context.Context, index int) (PortMapping, error) {
	var out entryAnswer
	err := s.call(ctx, "GetGenericPortMappingEntry", &struct{ NewPortMappingIndex string }{strconv.Itoa(index)}, &out)
	if err != nil {
		return PortMapping{}, err
	}
	m, err := out.mapping()
	if err != nil {
		return PortMapping{}, err
	}
	m.Protocol = strings.ToUpper(strings.TrimSpace(out.NewProtocol))
	if m.External, err = parsePort(out.NewExternalPort); err != nil {
		return PortMapping{}, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return m, nil
}

// ExternalAddress returns the device's idea of its external address, which may
// be any: judge it before use. It is invalid if the device knows none.
func (s *Service) ExternalAddress(ctx context.Context) (netip.Addr, error) {
	var out struct{ NewExternalIPAddress string }
	if err := s.call(ctx, "GetExternalIPAddress", nil, &out); err != nil {
		return netip.Addr{}, err
	}
	text := strings.TrimSpace(out.NewExternalIPAddress)
	if text == "" {
		return netip.Addr{}, nil
	}
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return ip.Unmap(), nil
}

// Connected reports whether the connection is up.
func (s *Service) Connected(ctx context.Context) (bool, error) {
	var out struct{ NewConnectionStatus string }
	if err := s.call(ctx, "GetStatusInfo", nil, &out); err != nil {
		return false, err
	}
	status := strings.TrimSpace(out.NewConnectionStatus)
	return strings.EqualFold(status, "Connected") || strings.EqualFold(status, "Up"), nil
}

// catcher keeps a request's error for call.
type catcher struct {
	client *client
	err    error
}

// RoundTrip implements http.RoundTripper.
func (c *catcher) RoundTrip(q *http.Request) (*http.Response, error) {
	r, err := c.client.RoundTrip(q)
	c.err = err
	return r, err
}

func port(p uint16) string { return strconv.Itoa(int(p)) }

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 16)
	return uint16(n), err
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }
