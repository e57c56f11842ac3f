package wire

import (
	"encoding/binary"
	"net/netip"
)

// Types of trailers (RFC 6081, 4). Section 4.5 gives the random port trailer
// type 5, the table of section 9 type 2: 5 is sent, both are read.
const (
	trailerNonce      = 0x01
	trailerPortAlias  = 0x02
	trailerAlternate  = 0x03
	trailerDiscovery  = 0x04
	trailerRandomPort = 0x05
	// trailerAnnounce is ours: receivers skip a type from 0xc0 on that they do
	// not know (RFC 6081, 5.1.2).
	trailerAnnounce = 0xf5
)

// MaxAlternates is the number of addresses an alternate address trailer can
// hold (RFC 6081, 4.3).
const MaxAlternates = 4

// Discovery is what a neighbor discovery option trailer asks or says
// (RFC 6081, 4.4).
type Discovery byte

// Values of [Trailers].Discovery.
const (
	NoDiscovery            Discovery = iota // no such trailer
	DiscoverySolicitation                   // the receiver must answer with a direct bubble
	DiscoveryAdvertisement                  // the answer
)

// NAT is how the NATs in front of a client map its port to the outside, as it
// says of itself in an announcement.
type NAT uint8

// Kinds of NAT, by what each new destination gets (RFC 6081, 2).
const (
	NATUnknown     NAT = iota
	NATIndependent     // the same mapping for all: cone and restricted NATs
	NATPreserving      // a mapping of its own; the first of a port keeps its number
	NATSequential      // a mapping of its own, numbered on from the last one
	NATRandom          // a mapping of its own that nobody can foresee
)

func (n NAT) String() string {
	switch n {
	case NATIndependent:
		return "independent"
	case NATPreserving:
		return "port-preserving symmetric"
	case NATSequential:
		return "sequential symmetric"
	case NATRandom:
		return "symmetric"
	}
	return "unknown"
}

// MarshalText implements encoding.TextMarshaler.
func (n NAT) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. A text that is no kind's
// becomes NATUnknown.
func (n *NAT) UnmarshalText(text []byte) error {
	*n = NATUnknown
	for k := NATIndependent; k <= NATRandom; k++ {
		if k.String() == string(text) {
			*n = k
		}
	}
	return nil
}

// Announcement is a trailer of our own: what two of our clients must know of each
// other before they cross NATs that RFC 6081 gives up on. Seven bytes: the NAT,
// Echo, Aim.
type Announcement struct {
	Present bool
	NAT     NAT
	Mapped  bool // RandomPort is a port forward: everybody may send to it
	Open    bool // many ports wait for the receiver: it is to search for one
	// Echo, on an indirect bubble, is the nonce of the last indirect bubble
	// that came from the receiver, or zero. Whoever returns it receives what
	// servers send to the mapping in its address. On a direct bubble it is the
	// sender's own, for a receiver that its indirect bubbles did not reach.
	Echo [4]byte
	// Aim is the receiver's port that RandomPort was opened for.
	Aim uint16
}

const (
	announceSize   = 7
	announceMapped = 0x80 // in the first byte, beside the NAT
	announceOpen   = 0x40
)

// Trailers are the values of the trailers of one packet. The zero value is a
// packet without any.
type Trailers struct {
	HasNonce   bool
	Nonce      [4]byte                       // if HasNonce
	RandomPort uint16                        // 0: none
	Alternate  [MaxAlternates]netip.AddrPort // the first Alternates are set
	Alternates int
	Discovery  Discovery
	Announce   Announcement
	Malformed  bool // the sequence ended in a malformed trailer
	// BadAlternate: that one has alternate addresses, for which a bubble through
	// a server is to be dropped (RFC 6081, 5.6.4.2).
	BadAlternate bool
}

// ParseTrailers reads b, what followed an IPv6 packet, into t in the manner of
// RFC 6081, 5.1.2: unknown types are skipped, or fail with [ErrTrailer] if
// they ask for the packet to be discarded; a trailer that does not fit ends
// the processing and sets t.Malformed. A known trailer whose value breaks its
// own rules (a wrong length, port 0, an address that is not unicast) counts
// as malformed too, so that nothing behind it is believed. It never allocates
// unless it fails.
func ParseTrailers(b []byte, t *Trailers) error {
	*t = Trailers{}
	for offset := 0; offset < len(b); {
		rest := b[offset:]
		if len(rest) < 2 || len(rest) < 2+int(rest[1]) {
			t.Malformed, t.BadAlternate = true, rest[0] == trailerAlternate
			return nil
		}
		value := rest[2 : 2+int(rest[1])]
		switch kind := rest[0]; kind {
		case trailerNonce:
			if len(value) != 4 {
				t.Malformed = true
				return nil
			}
			t.HasNonce, t.Nonce = true, [4]byte(value)
		case trailerPortAlias, trailerRandomPort:
			if len(value) != 2 {
				t.Malformed = true
				return nil
			}
			if t.RandomPort = binary.BigEndian.Uint16(value); t.RandomPort == 0 {
				t.Malformed = true
				return nil
			}
		case trailerAlternate:
			if !t.parseAlternate(value) {
				t.Malformed, t.BadAlternate = true, true
				return nil
			}
		case trailerDiscovery:
			if len(value) != 4 || value[0] > 1 {
				t.Malformed = true
				return nil
			}
			t.Discovery = DiscoverySolicitation + Discovery(value[0])
		case trailerAnnounce:
			// Another length is a later version's, or nothing to do with us.
			if len(value) == announceSize {
				t.Announce = Announcement{
					Present: true, NAT: NAT(value[0] &^ (announceMapped | announceOpen)),
					Mapped: value[0]&announceMapped != 0, Open: value[0]&announceOpen != 0,
					Echo: [4]byte(value[1:]), Aim: binary.BigEndian.Uint16(value[5:]),
				}
				if t.Announce.NAT > NATRandom {
					t.Announce.NAT = NATUnknown
				}
			}
		default:
			if kind>>6 == 1 {
				return &ParseError{WhatTrailer, offset, ErrTrailer}
			}
		}
		offset += 2 + len(value)
	}
	return nil
}

func (t *Trailers) parseAlternate(value []byte) bool {
	if len(value) < 8 || len(value) > 2+6*MaxAlternates || (len(value)-2)%6 != 0 {
		return false
	}
	t.Alternates, t.Alternate = 0, [MaxAlternates]netip.AddrPort{}
	for entry := value[2:]; len(entry) > 0; entry = entry[6:] {
		ip := netip.AddrFrom4([4]byte(entry))
		port := binary.BigEndian.Uint16(entry[4:])
		if port == 0 || ip.IsMulticast() || ip.IsUnspecified() || entry[0] >= 240 {
			t.Alternates, t.Alternate = 0, [MaxAlternates]netip.AddrPort{}
			return false
		}
		t.Alternate[t.Alternates] = netip.AddrPortFrom(ip, port)
		t.Alternates++
	}
	return true
}

// AppendTrailers appends the trailers that t holds, in the order nonce,
// alternate addresses, random port, announcement, neighbor discovery. Malformed
// and BadAlternate are ignored, Alternates beyond [MaxAlternates] or not IPv4
// are left out.
func AppendTrailers(b []byte, t *Trailers) []byte {
	if t.HasNonce {
		b = append(b, trailerNonce, 4)
		b = append(b, t.Nonce[:]...)
	}
	if n := min(t.Alternates, MaxAlternates); n > 0 {
		start := len(b)
		b = append(b, trailerAlternate, 0, 0, 0)
		for _, a := range t.Alternate[:n] {
			if ip := a.Addr().Unmap(); ip.Is4() {
				v4 := ip.As4()
				b = append(b, v4[:]...)
				b = binary.BigEndian.AppendUint16(b, a.Port())
			}
		}
		b[start+1] = byte(len(b) - start - 2)
		if len(b) == start+4 {
			b = b[:start]
		}
	}
	if t.RandomPort != 0 {
		b = append(b, trailerRandomPort, 2)
		b = binary.BigEndian.AppendUint16(b, t.RandomPort)
	}
	if a := &t.Announce; a.Present {
		kind := byte(a.NAT)
		if a.Mapped {
			kind |= announceMapped
		}
		if a.Open {
			kind |= announceOpen
		}
		b = append(b, trailerAnnounce, announceSize, kind)
		b = append(b, a.Echo[:]...)
		b = binary.BigEndian.AppendUint16(b, a.Aim)
	}
	if t.Discovery != NoDiscovery {
		b = append(b, trailerDiscovery, 4, byte(t.Discovery-DiscoverySolicitation), 0, 0, 0)
	}
	return b
}
