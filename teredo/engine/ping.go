package engine

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"net/netip"
	"slices"
	"time"

	"shipworm/teredo/wire"
)

// Limits on connectivity tests that a received packet causes: the packet's
// source is a victim if it is forged (CVE-2006-6266).
const (
	pingRate   = 5 // a second, all sources
	pingBurst  = 10
	pingLife   = 30 * time.Second // of a token
	pingHops   = 128
	tokenSize  = 4 + 16 // epoch, truncated HMAC
	pingReason = "direct IPv6 connectivity test"
)

// pinger makes and knows the tokens of the direct IPv6 connectivity test
// (RFC 4380, 5.2.9). The key lives as long as the client, so that no token
// survives a restart; a token names its purpose, both addresses, its time and
// the number of the test, so that none serves another node or another test.
type pinger struct {
	key    [32]byte
	id     uint16
	seq    uint16 // of the last test
	limits bucket
}

// tests are the numbers of the tests of a node that wait for an answer, the
// oldest overwritten.
type tests struct {
	seqs [bubbleTries]uint16
	n    int // tests sent since the last answer
}

func (t *tests) add(seq uint16) {
	t.seqs[t.n%len(t.seqs)] = seq
	t.n++
}

// answer takes in the answer to test seq, and reports whether that test waited.
// It settles every test: with the first answer the relay is known, and a second
// one from elsewhere is a replay, or would be no better than one.
func (t *tests) answer(seq uint16) bool {
	if !slices.Contains(t.seqs[:min(t.n, len(t.seqs))], seq) {
		return false
	}
	*t = tests{}
	return true
}

func (g *pinger) init(rand io.Reader) error {
	var id [2]byte
	if _, err := io.ReadFull(rand, g.key[:]); err != nil {
		return err
	}
	if _, err := io.ReadFull(rand, id[:]); err != nil {
		return err
	}
	g.id = binary.BigEndian.Uint16(id[:])
	g.limits = bucket{rate: pingRate, burst: pingBurst}
	return nil
}

// token returns the token for test seq of node by own at an age of the client.
func (g *pinger) token(own, node netip.Addr, age time.Duration, seq uint16) [tokenSize]byte {
	var t [tokenSize]byte
	binary.BigEndian.PutUint32(t[:4], uint32(age/time.Second))
	mac := hmac.New(sha256.New, g.key[:])
	o, n := own.As16(), node.As16()
	mac.Write([]byte(pingReason))
	mac.Write(o[:])
	mac.Write(n[:])
	mac.Write(t[:4])
	mac.Write([]byte{byte(seq >> 8), byte(seq)})
	copy(t[4:], mac.Sum(nil))
	return t
}

// test sends p a test by way of to: the server, if p is a native node.
func (c *Client) test(now time.Time, p *peer, to netip.AddrPort, out *Output) {
	c.ping.seq++
	token := c.ping.token(c.own, p.ip(), now.Sub(c.origin), c.ping.seq)
	start := len(out.buf)
	echo := wire.Echo{
		Src: c.own, Dst: p.ip(), HopLimit: pingHops,
		ID: c.ping.id, Seq: c.ping.seq, Data: token[:],
	}
	var err error
	if out.buf, err = wire.AppendEcho(out.buf, &echo); err != nil {
		return // cannot happen: the data is short
	}
	p.lastTx = now
	p.tests.add(c.ping.seq)
	p.proof.spend(len(out.buf) - start)
	out.builtFrom(p.port, to, 0, start)
}

// testReply reports whether packet is an answer to one of our tests, from the
// node that it names as its source, and to which. Whether that test still waits
// for one is another question.
func (c *Client) testReply(now time.Time, packet wire.Packet) (seq uint16, ok bool) {
	const echo = wire.HeaderSize
	if len(packet) != echo+8+tokenSize || packet.NextHeader() != wire.ProtoICMPv6 || packet[echo] != wire.TypeEchoReply {
		return 0, false
	}
	e, err := wire.ParseEcho(packet)
	if err != nil || e.ID != c.ping.id {
		return 0, false
	}
	then := time.Duration(binary.BigEndian.Uint32(e.Data)) * time.Second
	if age := now.Sub(c.origin) - then; age < 0 || age > pingLife+time.Second {
		return 0, false
	}
	token := c.ping.token(c.own, e.Src, then, e.Seq)
	return e.Seq, hmac.Equal(token[:], e.Data)
}

// testSource keeps a packet from a native node that is not proven yet, and
// tests the node. Nothing repeats such a test but further packets.
func (c *Client) testSource(now time.Time, from netip.AddrPort, packet wire.Packet, out *Output) {
	key := [16]byte(packet[8:24])
	p := c.peers.get(key)
	if p == nil {
		p = c.peers.add(now, key, from, false, false, c)
	}
	c.peers.used(p)
	c.push(now, &p.in, packet, from)
	if p.trying || (!p.pinged.IsZero() && now.Sub(p.pinged) < pingLife) {
		return
	}
	if ok, _ := p.history.allowed(now); !ok || !c.ping.limits.take(now, 1) {
		c.drop(DropPingLimit)
		return
	}
	p.history.add(now)
	p.pinged = now
	c.test(now, p, c.server(0), out)
}
