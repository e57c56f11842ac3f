package message

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/pion/stun/v3"
)

// Reasons why Parse refuses a datagram. Errors wrap one of them.
var (
	ErrNotSTUN   = errors.New("not a STUN Binding message")
	ErrTooLong   = errors.New("longer than a STUN message may be")
	ErrAttribute = errors.New("malformed STUN attribute")
)

// Bounds of what a message may cost: attributes, and attribute types that
// Parse remembers.
const (
	maxAttributes = 64
	maxUnknown    = 16
)

// Names of RFC 3489 that pion/stun has no constants for (RFC 3489, 11.2).
const (
	attrPassword      stun.AttrType = 0x0007
	attrReflectedFrom stun.AttrType = 0x000b
)

// Parse decodes a datagram, which it does not keep. Of an attribute that comes
// twice the first counts (RFC 8489, 14).
func Parse(b []byte) (Message, error) {
	switch {
	case len(b) > MaxPadded:
		return Message{}, fmt.Errorf("%w: %d bytes", ErrTooLong, len(b))
	case len(b) < 20 || b[0]>>6 != 0 || int(binary.BigEndian.Uint16(b[2:])) != len(b)-20:
		return Message{}, ErrNotSTUN
	}
	if tooMany(b[20:]) {
		return Message{}, fmt.Errorf("%w: more than %d of them", ErrAttribute, maxAttributes)
	}
	raw := stun.Message{Raw: slices.Clone(b)}
	// The library takes no message without the cookie, so it gets one.
	binary.BigEndian.PutUint32(raw.Raw[4:], cookie)
	if err := raw.Decode(); err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrAttribute, err)
	}
	if raw.Type.Method != stun.MethodBinding {
		return Message{}, fmt.Errorf("%w: %s", ErrNotSTUN, raw.Type)
	}
	m := Message{Class: Class(raw.Type.Class), ID: ID(b[4:20])}
	if _, padded := raw.Attributes.Get(stun.AttrPadding); len(b) > MaxSize && !padded {
		return Message{}, fmt.Errorf("%w: %d bytes", ErrTooLong, len(b))
	}
	if err := m.read(&raw); err != nil {
		return Message{}, err
	}
	return m, nil
}

// tooMany counts before the library makes room for each attribute.
func tooMany(attrs []byte) bool {
	n := 0
	for len(attrs) >= 4 {
		n++
		size := 4 + (int(binary.BigEndian.Uint16(attrs[2:]))+3)&^3
		attrs = attrs[min(size, len(attrs)):]
	}
	return n > maxAttributes
}

// read fills m from the attributes of raw, the first of each type.
func (m *Message) read(raw *stun.Message) error {
	var unknown, listed []uint16
	var origin, source, other, changed netip.AddrPort
	for i, a := range raw.Attributes {
		if first := slices.IndexFunc(raw.Attributes, func(o stun.RawAttribute) bool { return o.Type == a.Type }); first != i {
			continue
		}
		var err error
		switch a.Type {
		case stun.AttrMappedAddress:
			m.Mapped, err = readAddress(a)
		case stun.AttrXORMappedAddress:
			if !m.ID.Classic() { // there it would be XORed with something else
				m.XORMapped, err = readXOR(raw, a)
			}
		case stun.AttrResponseOrigin:
			origin, err = readAddress(a)
		case stun.AttrSourceAddress:
			source, err = readAddress(a)
		case stun.AttrOtherAddress:
			other, err = readAddress(a)
		case stun.AttrChangedAddress:
			changed, err = readAddress(a)
		case stun.AttrAlternateServer:
			m.Alternate, err = readAddress(a)
		case stun.AttrChangeRequest:
			if len(a.Value) != 4 {
				err = badLength(a)
				break
			}
			m.ChangeIP, m.ChangePort = a.Value[3]&changeIP != 0, a.Value[3]&changePort != 0
		case stun.AttrResponsePort:
			// With or without the two bytes of padding counted: the RFC lets
			// one read it both ways.
			if len(a.Value) != 2 && len(a.Value) != 4 {
				err = badLength(a)
				break
			}
			m.ResponsePort = binary.BigEndian.Uint16(a.Value)
		case stun.AttrPadding:
			m.Padding = len(a.Value)
		case stun.AttrSoftware:
			m.Software = string(a.Value)
		case stun.AttrErrorCode:
			var e stun.ErrorCodeAttribute
			if err = e.GetFrom(raw); err != nil || a.Value[3] > 99 {
				err = badLength(a)
				break
			}
			m.Code, m.Reason = int(e.Code), string(e.Reason)
		case stun.AttrUnknownAttributes:
			if len(a.Value)%2 != 0 {
				err = badLength(a)
				break
			}
			for v := a.Value; len(v) > 0 && len(listed) < maxUnknown; v = v[2:] {
				listed = append(listed, binary.BigEndian.Uint16(v))
			}
		case attrPassword, attrReflectedFrom, stun.AttrUsername, stun.AttrRealm, stun.AttrNonce,
			stun.AttrMessageIntegrity, stun.AttrMessageIntegritySHA256, stun.AttrUserhash, stun.AttrPasswordAlgorithm:
			// Credentials: nobody asked for them, so they do not matter.
		default: // RESPONSE-ADDRESS of RFC 3489 too: it let anybody aim answers at anybody
			if a.Type.Required() && len(unknown) < maxUnknown {
				unknown = append(unknown, a.Type.Value())
			}
		}
		if err != nil {
			return err
		}
	}
	m.Unknown = unknown
	if m.Class == Error {
		m.Unknown = listed
	}
	m.Origin, m.Other = origin, other
	if !origin.IsValid() && !other.IsValid() && (source.IsValid() || changed.IsValid()) {
		m.Origin, m.Other, m.Old = source, changed, true
	}
	return nil
}

// checkAddress exists because the library's getters accept values that are
// shorter than the address family needs.
func checkAddress(a stun.RawAttribute) error {
	if len(a.Value) < 4 {
		return badLength(a)
	}
	// The first byte is to be ignored, but the library reads it with the family.
	a.Value[0] = 0
	switch family := a.Value[1]; {
	case family == 1 && len(a.Value) == 8, family == 2 && len(a.Value) == 20:
		return nil
	case family != 1 && family != 2:
		return fmt.Errorf("%w: %s of address family %d", ErrAttribute, a.Type, family)
	}
	return badLength(a)
}

func readAddress(a stun.RawAttribute) (netip.AddrPort, error) {
	if err := checkAddress(a); err != nil {
		return netip.AddrPort{}, err
	}
	addr, _ := netip.AddrFromSlice(a.Value[4:])
	return netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(a.Value[2:])), nil
}

func readXOR(raw *stun.Message, a stun.RawAttribute) (netip.AddrPort, error) {
	if err := checkAddress(a); err != nil {
		return netip.AddrPort{}, err
	}
	var x stun.XORMappedAddress
	if err := x.GetFromAs(raw, a.Type); err != nil {
		return netip.AddrPort{}, fmt.Errorf("%w: %w", ErrAttribute, err)
	}
	addr, _ := netip.AddrFromSlice(x.IP)
	return netip.AddrPortFrom(addr.Unmap(), uint16(x.Port)), nil
}

func badLength(a stun.RawAttribute) error {
	return fmt.Errorf("%w: %s of %d bytes", ErrAttribute, a.Type, len(a.Value))
}
