package upnp

import (
	"errors"
	"fmt"
	"net/netip"
)

// Errors to branch on.
var (
	// ErrPublicNetwork: the configuration says that nothing may be sent here.
	ErrPublicNetwork = errors.New("upnp: routers are not asked on a public network")
	// ErrNoGateway: the host has no default router.
	ErrNoGateway = errors.New("upnp: no default router")
	// ErrSilent: nothing answered in the time there was.
	ErrSilent = errors.New("no answer")
	// ErrNoDevice: no UPnP device that can be used has answered.
	ErrNoDevice = errors.New("no gateway device")
	// ErrNotBound: no socket of this host has the port.
	ErrNotBound = errors.New("upnp: no socket of this host is bound to the port")
	// ErrNotOurs: the mapping belongs to another host or program.
	ErrNotOurs = errors.New("upnp: the mapping is not ours")
	// ErrNoMapping: there is no such mapping.
	ErrNoMapping = errors.New("upnp: no such mapping")
	// ErrPermanentOnly: the router makes only permanent mappings, and without
	// a journal none is made.
	ErrPermanentOnly = errors.New("upnp: the router makes only permanent mappings, which need a journal")
)

// ProtocolError says how one protocol failed.
type ProtocolError struct {
	Via Via
	Err error
}

func (e *ProtocolError) Error() string { return fmt.Sprintf("%v: %v", e.Via, e.Err) }
func (e *ProtocolError) Unwrap() error { return e.Err }

// MapError says that no protocol made a mapping, and why each did not.
type MapError struct {
	Gateway netip.Addr
	Errs    []error // one a protocol, or of PCP and NAT-PMP together
}

func (e *MapError) Error() string {
	s := fmt.Sprintf("upnp: router %v maps no port", e.Gateway)
	for i, err := range e.Errs {
		s += [...]string{": ", "; "}[min(i, 1)] + err.Error()
	}
	return s
}
func (e *MapError) Unwrap() []error { return e.Errs }
