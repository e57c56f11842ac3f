package engine

import (
	"io"
	"net/netip"
	"time"

	"shipworm/teredo/wire"
)

// Timers of the echo test. RFC 6081, 5.5 asks again after 1 s; the answers are
// there within a round trip, or lost.
const (
	echoGap   = 200 * time.Millisecond
	echoTries = 6
)

// echoTest foretells which mapping a sequential NAT gives an extra port towards
// a peer (RFC 6081, 5.5.4.1): the one between those that it gives towards the
// two addresses of the server just before and just after.
type echoTest struct {
	next         time.Time // zero: none under way
	tries        int
	nonces       [2][8]byte // of the solicitations to primary and secondary
	lower, upper uint16
}

// startEcho begins a test from p's extra port, whose bubble to p.x.target goes
// out between the solicitations.
func (c *Client) startEcho(now time.Time, p *peer, out *Output) {
	t := &p.x.test
	*t = echoTest{}
	for i := range t.nonces {
		if _, err := io.ReadFull(c.rand, t.nonces[i][:]); err != nil {
			c.drop(DropRandom)
			return
		}
	}
	c.echo(p, 0, out)
	c.bubbleTo(now, p, p.x.port, p.x.target, 0, c.asking(now, p, solicits, p.x.target), out)
	c.echo(p, 1, out)
	t.tries, t.next = 1, now.Add(echoGap)
}

// echo sends one of the solicitations.
func (c *Client) echo(p *peer, server int, out *Output) {
	start := len(out.buf)
	out.buf = c.appendSolicitation(out.buf, p.x.test.nonces[server], false)
	out.builtFrom(p.x.port, c.server(server), 0, start)
	c.stats.solicitations++
}

// repeatEcho asks again for what did not come; the NAT has chosen by now, so
// the answer does not change. In the end one answer must do, with the step that
// the NAT took before; without any p is invited without a port.
func (c *Client) repeatEcho(now time.Time, p *peer, out *Output) {
	t := &p.x.test
	if t.tries == echoTries {
		switch {
		case t.lower != 0:
			p.x.external = t.lower + c.step
		case t.upper != 0:
			p.x.external = t.upper - c.step
		}
		*t = echoTest{}
		c.invite(now, p, out)
		return
	}
	t.tries++
	t.next = now.Add(echoGap)
	for server, port := range [2]uint16{t.lower, t.upper} {
		if port == 0 {
			c.echo(p, server, out)
		}
	}
}

// receiveEcho takes in an advertisement at an extra port.
func (c *Client) receiveEcho(now time.Time, port uint16, from netip.AddrPort, out *Output) {
	server := c.fromServer(from)
	if server < 0 {
		c.drop(DropRASource)
		return
	}
	p := c.ports.open[port]
	if p == nil || p.x.port != port || p.x.test.next.IsZero() || !c.d.HasAuth || c.d.Auth.Nonce != p.x.test.nonces[server] {
		c.drop(DropRANonce)
		return
	}
	if why, ok := c.checkAdvertisement(false); !ok {
		c.drop(why)
		return
	}
	t := &p.x.test
	if c.d.Origin.Addr() != c.mapping.Addr() {
		c.misjudged(now, p, out)
		return
	}
	if server == 0 {
		t.lower = c.d.Origin.Port()
	} else {
		t.upper = c.d.Origin.Port()
	}
	if t.lower == 0 || t.upper == 0 {
		return
	}
	if t.upper-t.lower > 2*sequentialReach {
		c.misjudged(now, p, out)
		return
	}
	// The RFC prints twice the upper one; the middle is meant.
	p.x.external = t.lower + (t.upper-t.lower)/2
	*t = echoTest{}
	c.invite(now, p, out)
}

// misjudged takes back that our NAT is sequential: one time in 4,000 the first
// two ports of one that draws lots look so.
func (c *Client) misjudged(now time.Time, p *peer, out *Output) {
	c.nat, c.step = wire.NATRandom, 0
	c.ports.keep(p, 0)
	c.invite(now, p, out)
}
