package engine

import (
	"net/netip"
	"time"

	"shipworm/teredo/wire"
)

// Filtering is whom a NAT lets in through a mapping that was opened towards
// somebody else.
type Filtering uint8

// Kinds of filtering, as far as a server with two addresses can tell.
const (
	FilteringUnknown    Filtering = iota // not tested, or the server has no second address
	FilteringNone                        // everybody: a cone NAT, or no NAT
	FilteringRestricted                  // not everybody
)

func (f Filtering) String() string {
	switch f {
	case FilteringNone:
		return "none"
	case FilteringRestricted:
		return "restricted"
	}
	return "unknown"
}

// MarshalText implements encoding.TextMarshaler.
func (f Filtering) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. A text that is no kind's
// becomes FilteringUnknown.
func (f *Filtering) UnmarshalText(text []byte) error {
	*f = FilteringUnknown
	for k := FilteringNone; k <= FilteringRestricted; k++ {
		if k.String() == string(text) {
			*f = k
		}
	}
	return nil
}

// coneTest is the first phase of qualification in RFC 4380, 5.2.1, out of its
// turn: a solicitation with the cone bit is answered from the server's other
// address, which only a cone NAT lets in. RFC 5991, 3.2 has clients skip that
// phase, for it costs 12 s behind every other NAT; here it runs beside
// everything else, and nothing but ClientState knows its result.
type coneTest struct {
	side   sidePort
	next   time.Time // zero: none under way
	tries  int
	result Filtering
}

// startConeTest begins the test, if that is asked for, now that there is an
// address.
func (c *Client) startConeTest(now time.Time, out *Output) {
	c.stopConeTest(FilteringUnknown)
	if c.config.ConeTest && c.config.Secondary.IsValid() && c.openSide(&c.cone.side, out) {
		c.cone.next = now
		c.tickCone(now, out)
	}
}

func (c *Client) stopConeTest(result Filtering) {
	c.closeSide(&c.cone.side)
	c.cone = coneTest{result: result}
}

func (c *Client) tickCone(now time.Time, out *Output) {
	t, gaps := &c.cone, c.gaps()
	switch {
	case t.next.IsZero() || now.Before(t.next):
	case t.tries < len(gaps):
		t.next = now.Add(gaps[t.tries])
		t.tries++
		c.solicitSide(&t.side, true, out)
	case c.nat == wire.NATUnknown: // the second address was not heard of at all
		c.stopConeTest(FilteringUnknown)
	default:
		c.stopConeTest(FilteringRestricted)
	}
}

// receiveCone takes in a datagram at the port of the test.
func (c *Client) receiveCone(from netip.AddrPort) {
	switch {
	case !isAdvertisement(c.d.IPv6):
		c.drop(DropMismatch)
	case c.fromServer(from) != 1:
		c.drop(DropRASource)
	case c.answersSide(&c.cone.side, true):
		c.stopConeTest(FilteringNone)
	}
}
