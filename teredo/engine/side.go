package engine

import (
	"io"
	"slices"
)

// sidePort is an extra port that belongs to no peer: a test of its own asks the
// server from there, so that nothing else waits for it or is disturbed by it.
type sidePort struct {
	port   uint16 // 0: none
	nonces [][8]byte
}

func (c *Client) openSide(s *sidePort, out *Output) bool {
	*s = sidePort{port: c.openPort(&peer{wanted: true, x: &crossing{}}, out)}
	return s.port != 0
}

func (c *Client) closeSide(s *sidePort) {
	c.ports.close(s.port)
	*s = sidePort{}
}

// solicitSide sends a solicitation to the primary address, with the cone bit or
// without.
func (c *Client) solicitSide(s *sidePort, cone bool, out *Output) {
	var nonce [8]byte
	if _, err := io.ReadFull(c.rand, nonce[:]); err != nil {
		c.drop(DropRandom)
		return
	}
	s.nonces = append(s.nonces, nonce)
	start := len(out.buf)
	out.buf = c.appendSolicitation(out.buf, nonce, cone)
	out.builtFrom(s.port, c.server(0), 0, start)
	c.stats.solicitations++
}

// answersSide reports whether c.d is an advertisement that answers a
// solicitation of s.
func (c *Client) answersSide(s *sidePort, cone bool) bool {
	if !c.d.HasAuth || !slices.Contains(s.nonces, c.d.Auth.Nonce) {
		c.drop(DropRANonce)
		return false
	}
	if why, ok := c.checkAdvertisement(cone); !ok {
		c.drop(why)
		return false
	}
	return true
}
