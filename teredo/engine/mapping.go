package engine

import (
	"net/netip"
	"time"

	"shipworm/teredo/wire"
)

// The test of how the NAT maps (RFC 4380, 5.2.1, third phase): the secondary
// server sees the same mapping as the primary, or another.
const (
	mappingTests = 4                      // solicitations
	mappingGap   = 500 * time.Millisecond // between them
	mappingWait  = mappingGap             // how long attempts wait for the result

	// Between two solicitations a sequential NAT may have served others.
	sequentialReach = 16
)

// mappingTest is the state of that test.
type mappingTest struct {
	next  time.Time // zero: none under way
	until time.Time // attempts wait
	tries int
}

// SetLocal tells the local address and port of the service port, as peers on
// the same network would see them. Without it no NAT is known to preserve
// ports, and peers behind the same NAT are not told where else we are.
func (c *Client) SetLocal(local netip.AddrPort) {
	c.local = netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
}

// SetMapped tells the outside end of a port forward that leads to the service
// port, got through UPnP, PCP or by hand (RFC 6081, 3.2); the zero AddrPort
// says that there is none any more. Peers behind any NAT can then reach us. One
// whose address differs from that of the mapping, on a network between two
// NATs perhaps, only helps peers on that network.
func (c *Client) SetMapped(now time.Time, external netip.AddrPort, out *Output) {
	external = netip.AddrPortFrom(external.Addr().Unmap(), external.Port())
	if external == c.external {
		return
	}
	c.external = external
	for _, p := range c.peers.due {
		if p.trying && p.x != nil && !p.usable(now) {
			c.invite(now, p, out) // it tries in vain as yet
		}
	}
	c.ports.drain(out)
}

// forward returns the port of the mapping's address that everybody may send to,
// or 0.
func (c *Client) forward() uint16 {
	if c.external.Addr() != c.mapping.Addr() {
		return 0
	}
	return c.external.Port()
}

// symmetric reports whether the NAT maps every destination anew.
func (c *Client) symmetric() bool { return c.nat > wire.NATIndependent }

// startMappingTest begins to look at the mapping with the secondary's eyes.
func (c *Client) startMappingTest(now time.Time, out *Output) {
	c.nat, c.mappingTest = wire.NATUnknown, mappingTest{}
	if c.config.Secondary.IsValid() && c.via == 0 {
		c.mappingTest.until = now.Add(mappingWait)
		c.testMapping(now, out)
	}
}

func (c *Client) testMapping(now time.Time, out *Output) {
	m := &c.mappingTest
	if m.tries == mappingTests {
		*m = mappingTest{}
		return
	}
	m.tries++
	m.next = now.Add(mappingGap << (m.tries - 1))
	c.solicitFrom(now, 1, out)
}

// judge compares what the secondary saw with what the primary saw.
func (c *Client) judge(now time.Time, seen netip.AddrPort, out *Output) {
	step := seen.Port() - c.mapping.Port()
	c.seen = seen.Port()
	switch {
	case seen == c.mapping:
		c.nat = wire.NATIndependent
	case seen.Addr() == c.mapping.Addr() && c.mapping.Port() == c.local.Port():
		c.nat = wire.NATPreserving
	case seen.Addr() == c.mapping.Addr() && step > 0 && step <= sequentialReach:
		c.nat, c.step = wire.NATSequential, step
	default:
		c.nat = wire.NATRandom
	}
	waited := !c.mappingTest.until.IsZero()
	c.mappingTest = mappingTest{}
	if waited {
		c.wake(now, out)
	}
}

// wake starts the attempts that waited for the result.
func (c *Client) wake(now time.Time, out *Output) {
	for i := 0; i < len(c.peers.due); {
		if p := c.peers.due[i]; p.waiting {
			p.waiting = false
			c.attempt(now, p, out)
			i = 0 // the heap has changed
			continue
		}
		i++
	}
}
