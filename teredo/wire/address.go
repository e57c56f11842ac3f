package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Flags of a Teredo address (RFC 4380, 4; RFC 5991, 3.1).
const (
	FlagCone    uint16 = 0x8000 // C: the client believed to sit behind a cone NAT
	FlagZ       uint16 = 0x4000 // reserved, sent as 0
	FlagU       uint16 = 0x0200 // EUI-64 universal/local, 0
	FlagG       uint16 = 0x0100 // EUI-64 individual/group, 0
	FlagsRandom uint16 = 0x3cff // the 12 bits that RFC 5991 makes random
)

// Prefix is the Teredo service prefix, 2001::/32 (RFC 4380, 2.6).
func Prefix() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01}), 32)
}

// Address is a Teredo IPv6 address: a server, flags, and the IPv4 address and
// UDP port that the outermost NAT gave the client, the latter two stored
// inverted (RFC 4380, 4). It is comparable and usable as a map key. The zero
// Address is invalid.
type Address struct{ ip [16]byte }

// AddressFrom builds an address. IPv4-mapped IPv6 arguments are unmapped; an
// argument that is not IPv4 gives the zero Address. No bit of flags is
// altered: a caller that follows RFC 5991 keeps them within [FlagsRandom].
func AddressFrom(server netip.Addr, flags uint16, mapped netip.AddrPort) Address {
	server, host := server.Unmap(), mapped.Addr().Unmap()
	if !server.Is4() || !host.Is4() {
		return Address{}
	}
	var a Address
	a.ip[0], a.ip[1] = 0x20, 0x01
	s := server.As4()
	copy(a.ip[4:8], s[:])
	putMapped(a.ip[8:16], flags, netip.AddrPortFrom(host, mapped.Port()))
	return a
}

// putMapped writes the interface identifier of a Teredo address, which its
// link-local addresses share (RFC 4380, 4).
func putMapped(b []byte, flags uint16, mapped netip.AddrPort) {
	binary.BigEndian.PutUint16(b[0:2], flags)
	binary.BigEndian.PutUint16(b[2:4], ^mapped.Port())
	v4 := mapped.Addr().As4()
	for i, x := range v4 {
		b[4+i] = ^x
	}
}

// AddressFromAddr returns ip as a Teredo address, and whether it is one.
// An address with a zone is none.
func AddressFromAddr(ip netip.Addr) (Address, bool) {
	if !ip.Is6() || ip.Zone() != "" {
		return Address{}, false
	}
	a := Address{ip.As16()}
	if !a.IsValid() {
		return Address{}, false
	}
	return a, true
}

// ParseAddress parses the text form of a Teredo address. The error wraps
// [ErrNotTeredo] when s is another kind of IP address.
func ParseAddress(s string) (Address, error) {
	ip, err := netip.ParseAddr(s)
	if err != nil {
		return Address{}, err
	}
	a, ok := AddressFromAddr(ip)
	if !ok {
		return Address{}, fmt.Errorf("%s: %w", ip, ErrNotTeredo)
	}
	return a, nil
}

// IsValid reports whether a lies in the Teredo prefix, which the zero Address
// does not.
func (a Address) IsValid() bool {
	return a.ip[0] == 0x20 && a.ip[1] == 0x01 && a.ip[2] == 0 && a.ip[3] == 0
}

// Addr returns a as an IPv6 address; the zero netip.Addr if a is invalid.
func (a Address) Addr() netip.Addr {
	if !a.IsValid() {
		return netip.Addr{}
	}
	return netip.AddrFrom16(a.ip)
}

// Server returns the IPv4 address of the client's server.
func (a Address) Server() netip.Addr {
	if !a.IsValid() {
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte(a.ip[4:8]))
}

// Flags returns the 16 flag bits as they stand in the address.
func (a Address) Flags() uint16 { return binary.BigEndian.Uint16(a.ip[8:10]) }

// Cone reports whether the cone bit is set. RFC 5991, 3.2 asks peers to ignore
// it.
func (a Address) Cone() bool { return a.Flags()&FlagCone != 0 }

// Mapped returns the IPv4 address and UDP port of the client as the outside of
// its NAT shows them.
func (a Address) Mapped() netip.AddrPort {
	if !a.IsValid() {
		return netip.AddrPort{}
	}
	return mapped(a.ip[8:16])
}

func mapped(iid []byte) netip.AddrPort {
	v4 := netip.AddrFrom4([4]byte{^iid[4], ^iid[5], ^iid[6], ^iid[7]})
	return netip.AddrPortFrom(v4, ^binary.BigEndian.Uint16(iid[2:4]))
}

// String returns the text form of RFC 5952, or "invalid Teredo address".
func (a Address) String() string {
	if !a.IsValid() {
		return "invalid Teredo address"
	}
	return a.Addr().String()
}

// AppendTo appends the text form to b; nothing if a is invalid.
func (a Address) AppendTo(b []byte) []byte { return a.Addr().AppendTo(b) }

// MarshalText implements encoding.TextMarshaler; the zero Address is empty.
func (a Address) MarshalText() ([]byte, error) { return a.Addr().MarshalText() }

// UnmarshalText implements encoding.TextUnmarshaler; empty text is the zero
// Address.
func (a *Address) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*a = Address{}
		return nil
	}
	parsed, err := ParseAddress(string(text))
	if err != nil {
		return err
	}
	*a = parsed
	return nil
}

// ServerLinkLocal returns the link-local address from which the server with
// this IPv4 address advertises: cone bit set, port 3544 (RFC 4380, 5.3.2).
func ServerLinkLocal(server netip.Addr) netip.Addr {
	server = server.Unmap()
	if !server.Is4() {
		return netip.Addr{}
	}
	ip := [16]byte{0xfe, 0x80}
	putMapped(ip[8:16], FlagCone, netip.AddrPortFrom(server, Port))
	return netip.AddrFrom16(ip)
}

// ClientLinkLocal returns the source of our router solicitations. Of the whole
// identifier only the cone bit has a meaning to servers (RFC 4380, 5.2.1); the
// rest is what later Windows clients send.
func ClientLinkLocal(cone bool) netip.Addr {
	ip := [16]byte{0xfe, 0x80, 10: 0xff, 11: 0xff, 12: 0xff, 13: 0xff, 14: 0xff, 15: 0xfe}
	if cone {
		ip[8] = 0x80
	}
	return netip.AddrFrom16(ip)
}
