package engine

import (
	"encoding/binary"
	"errors"
	"io"
	mathrand "math/rand/v2"
	"net/netip"
	"time"

	"shipworm/teredo/wire"
)

// Timers of qualification and maintenance.
const (
	minRefresh = 5 * time.Second  // for NATs that forget within 15 s
	maxRefresh = 45 * time.Second // RFC 6081, 5.1.1: 150 %

	keepAddress = 60 * time.Second // an address outlives its unreachable server
	nonceLife   = 12 * time.Second // an answer that took longer is not one
	silence     = 2 * time.Second  // data unanswered this long: is the mapping gone?
	silenceGap  = 5 * time.Second  // between two solicitations because of silence
)

// DefaultRefresh is the longest time between two solicitations of a qualified
// client that was not told otherwise. RFC 4380, 5.2.
const DefaultRefresh = 30 * time.Second

// quickGaps follow each solicitation of a series. RFC 4380 asks 4 s apart and
// gives up after three, which at 10 % loss means 22 false alarms a day.
var quickGaps = []time.Duration{
	500 * time.Millisecond, time.Second, 2 * time.Second,
	4 * time.Second, 4 * time.Second, 4 * time.Second,
}

// strictGaps are those of RFC 4380, 5.2: T is 4 s, N is 3.
var strictGaps = []time.Duration{4 * time.Second, 4 * time.Second, 4 * time.Second}

// backoff are the gaps between single solicitations after a failed series.
var backoff = []time.Duration{
	15 * time.Second, 30 * time.Second, 60 * time.Second,
	120 * time.Second, 240 * time.Second, 300 * time.Second,
}

// solicit is the state of the conversation with the server.
type solicit struct {
	next     time.Time // when the next solicitation, or the end of a series, is due
	expires  time.Time // when the address is dropped; zero unless Unreachable
	answered time.Time // last valid advertisement
	sent     time.Time // last solicitation
	series   bool      // a series is under way
	doubted  bool      // the secondary's other mapping began a series: once is enough
	tries    int       // solicitations sent in the series
	most     int       // solicitations of the series; 0 for as many as there are gaps
	step     int       // of the back-off, if not in a series and not Ready
	to       int       // server address for the next solicitation

	outstanding [4]nonce // unanswered, oldest overwritten
	slot        int
}

type nonce struct {
	value [8]byte
	sent  time.Time // zero: unused
	to    int       // 0 primary, 1 secondary
}

func newJitter(seed [16]byte) *mathrand.Rand {
	return mathrand.New(mathrand.NewPCG(binary.BigEndian.Uint64(seed[:8]), binary.BigEndian.Uint64(seed[8:])))
}

// between draws a duration from [lo, hi] times d.
func (c *Client) between(lo, hi float64, d time.Duration) time.Duration {
	return time.Duration((lo + (hi-lo)*c.jitter.Float64()) * float64(d))
}

func (c *Client) gaps() []time.Duration {
	if c.config.StrictTimers {
		return strictGaps
	}
	return quickGaps
}

// server returns one of the server's addresses: 0 primary, 1 secondary.
func (c *Client) server(i int) netip.AddrPort {
	if i == 1 {
		return netip.AddrPortFrom(c.config.Secondary, wire.Port)
	}
	return netip.AddrPortFrom(c.config.Server, wire.Port)
}

// fromServer returns which of the server's addresses ap is, or -1.
func (c *Client) fromServer(ap netip.AddrPort) int {
	switch {
	case ap == c.server(0):
		return 0
	case c.config.Secondary.IsValid() && ap == c.server(1):
		return 1
	}
	return -1
}

// startSeries sends the first solicitation of a series, and forgets the
// back-off.
func (c *Client) startSeries(now time.Time, out *Output) {
	c.startShortSeries(now, 0, out)
}

// startShortSeries is startSeries with at most so many solicitations; 0 sets no
// bound.
func (c *Client) startShortSeries(now time.Time, most int, out *Output) {
	s := &c.solicit
	s.series, s.doubted, s.tries, s.most, s.step, s.to = true, false, 0, most, 0, 0
	c.sendSolicitation(now, out)
	s.next = now.Add(c.seriesGap())
}

// seriesGap returns the gap after the solicitation that was just sent. However
// short a series, its last one has as long to be answered.
func (c *Client) seriesGap() time.Duration {
	s, gaps := &c.solicit, c.gaps()
	if s.tries == s.most {
		return gaps[len(gaps)-1]
	}
	return gaps[s.tries-1]
}

// seriesOver reports whether the series has no solicitation left.
func (s *solicit) seriesOver(gaps []time.Duration) bool {
	return s.tries == s.most || s.tries >= len(gaps)
}

func (c *Client) sendSolicitation(now time.Time, out *Output) {
	s := &c.solicit
	to := s.to
	s.tries++
	s.sent = now
	if c.config.Secondary.IsValid() {
		s.to = 1 - s.to
	}
	c.solicitFrom(now, to, out)
}

// solicitFrom sends a solicitation to one of the server's addresses.
func (c *Client) solicitFrom(now time.Time, to int, out *Output) {
	s := &c.solicit
	n := nonce{sent: now, to: to}
	if _, err := io.ReadFull(c.rand, n.value[:]); err != nil {
		c.drop(DropRandom)
		return
	}
	s.outstanding[s.slot] = n
	s.slot = (s.slot + 1) % len(s.outstanding)
	start := len(out.buf)
	out.buf = c.appendSolicitation(out.buf, n.value, false)
	out.built(c.server(to), start)
	c.stats.solicitations++
}

func (c *Client) tickSolicit(now time.Time, out *Output) {
	s := &c.solicit
	if !s.expires.IsZero() && !now.Before(s.expires) {
		// A server that is down does not cut peers that are up.
		if keep := c.lastPeer.Add(keepAddress); keep.After(now) {
			s.expires = keep
		} else {
			s.expires = time.Time{}
			c.loseAddress(now, out)
			c.state = Offline
		}
	}
	if !c.mappingTest.next.IsZero() && !now.Before(c.mappingTest.next) {
		c.testMapping(now, out)
	}
	if s.next.IsZero() || now.Before(s.next) {
		return
	}
	switch {
	case !s.series && c.state == Ready:
		c.startSeries(now, out)
		c.peers.sweep(now, c)
	case !s.series:
		c.sendSolicitation(now, out)
		s.next = now.Add(c.backoffGap())
	case s.seriesOver(c.gaps()):
		c.seriesFailed(now, out)
	default:
		c.sendSolicitation(now, out)
		s.next = now.Add(c.seriesGap())
	}
}

func (c *Client) seriesFailed(now time.Time, out *Output) {
	s := &c.solicit
	s.series, s.step = false, 0
	s.next = now.Add(c.backoffGap())
	switch c.state {
	case Qualifying:
		c.state = Offline
	case Ready:
		c.state = Unreachable
		s.expires = now.Add(keepAddress)
	}
	out.Events = append(out.Events, Event{Kind: ServerUnreachable, RetryAt: s.next})
}

// backoffGap returns the next gap, with 20 % jitter either way. At the cap the
// jitter is one-sided and small: a server that returns is to be found within
// 300 s, yet not asked more than about 300 times a day.
func (c *Client) backoffGap() time.Duration {
	d := backoff[c.solicit.step]
	if c.solicit.step == len(backoff)-1 {
		return c.between(0.97, 1, d)
	}
	c.solicit.step++
	return c.between(0.8, 1.2, d)
}

// heedSilence asks the server whether the mapping still stands, once data has
// gone unanswered for a while.
func (c *Client) heedSilence(now time.Time, out *Output) {
	s := &c.solicit
	if c.state != Ready || s.series || now.Sub(s.sent) < silenceGap || now.Sub(s.answered) < silence {
		return
	}
	c.startSeries(now, out)
}

// receiveAdvertisement handles a datagram with an ICMPv6 router advertisement.
// Its conditions are those of RFC 4380, 5.2.1 and 5.2.2.
func (c *Client) receiveAdvertisement(now time.Time, from netip.AddrPort, out *Output) {
	d := &c.d
	server := c.fromServer(from)
	if server < 0 {
		c.drop(DropRASource)
		return
	}
	slot := c.outstanding(now, server)
	switch {
	case slot < 0:
		c.drop(DropRANonce)
		return
	}
	if why, ok := c.checkAdvertisement(false); !ok {
		c.drop(why)
		return
	}
	// Peers send to no such port (T-02), but nobody is told of a mapping that is
	// only compared with ours.
	compared := server == 1 && c.via == 0 && c.address.IsValid()
	if !compared && !portPermitted(d.Origin.Port()) {
		c.drop(DropRAOrigin)
		if c.refusals.take(now, 1) {
			out.Events = append(out.Events, Event{Kind: PortRefused})
		}
		return
	}
	rtt := now.Sub(c.solicit.outstanding[slot].sent)
	c.solicit.outstanding[slot] = nonce{}
	c.advertised(now, server, d.Origin, rtt, out)
}

// checkAdvertisement reports whether c.d is an advertisement that counts, source,
// nonce and mapped port aside, and if not, why. cone says with which cone bit it
// was asked for.
func (c *Client) checkAdvertisement(cone bool) (Drop, bool) {
	d := &c.d
	switch {
	case c.auth != nil && !c.auth.verify(d):
		return DropRASignature, false
	case d.Auth.Confirmation != 0:
		return DropRAConfirmation, false
	case !d.Origin.IsValid() || !c.policy.unicast(d.Origin.Addr()) || d.Origin.Port() == 0:
		return DropRAOrigin, false
	}
	ra, err := wire.ParseAdvertisement(d.IPv6)
	switch {
	case err != nil:
		return DropRAInvalid, false
	case ra.Dst != wire.ClientLinkLocal(cone):
		return DropRADestination, false
	case ra.Server != c.config.Server:
		return DropRAServer, false
	}
	return 0, true
}

// outstanding returns the slot of the nonce of c.d if it belongs to a
// solicitation to that server address that still waits, else -1.
func (c *Client) outstanding(now time.Time, server int) int {
	if !c.d.HasAuth {
		return -1
	}
	for i, n := range c.solicit.outstanding {
		if !n.sent.IsZero() && n.to == server && n.value == c.d.Auth.Nonce && now.Sub(n.sent) <= nonceLife {
			return i
		}
	}
	return -1
}

// advertised takes in a valid advertisement.
func (c *Client) advertised(now time.Time, server int, mapping netip.AddrPort, rtt time.Duration, out *Output) {
	s := &c.solicit
	if server == 1 && c.via == 0 && c.address.IsValid() && !c.mappingTest.next.IsZero() {
		c.judge(now, mapping, out)
	}
	if server == 1 && c.via == 0 && c.address.IsValid() && mapping != c.mapping {
		// A symmetric NAT shows each server address another mapping. Bubbles
		// come from the primary address, so what that one saw stands. But if the
		// primary is silent the mapping may really be another: ask it, at once
		// and with all tries, for the network is up again.
		if (s.series || c.state == Unreachable) && !s.doubted {
			c.startSeries(now, out)
			s.doubted = true
		}
		return
	}
	alone := server == 1 && (s.series || c.state != Ready) // the primary is silent
	if mapping != c.mapping {
		if err := c.drawFlags(); err != nil {
			c.drop(DropRandom)
			return
		}
	}
	s.series, s.doubted, s.step, s.expires, s.answered = false, false, 0, time.Time{}, now
	s.next = now.Add(c.between(0.75, 1, c.refresh))
	c.stats.rtt = rtt
	if server == 0 && c.via == 1 && mapping == c.mapping && c.nat == wire.NATUnknown {
		c.nat = wire.NATIndependent // the test was never due: the secondary came first
	}
	if mapping != c.mapping || server == 0 || !c.address.IsValid() {
		c.via = server // else both told the same
	}
	c.state = Ready
	if alone {
		// Bubbles come from the primary: a NAT that lost its state lets them in
		// only once we sent there, and a symmetric one shows it another mapping.
		s.to = 0
		c.sendSolicitation(now, out)
	}
	if c.address.IsValid() && mapping == c.mapping {
		return
	}
	c.loseAddress(now, out)
	c.mapping = mapping
	c.address = wire.AddressFrom(c.config.Server, c.flags, mapping)
	c.own = c.address.Addr()
	if c.stats.qualified.IsZero() {
		c.stats.qualified = now
	}
	out.Events = append(out.Events, Event{Kind: Qualified, Address: c.address, RTT: rtt})
	c.startMappingTest(now, out)
	c.startLocal(now)
	c.startConeTest(now, out)
	c.startInterval(now, out)
}

// drawFlags draws the 12 random bits of an address (RFC 5991, 3.1).
func (c *Client) drawFlags() error {
	var b [2]byte
	if _, err := io.ReadFull(c.rand, b[:]); err != nil {
		return errors.Join(errRandom, err)
	}
	c.flags = binary.BigEndian.Uint16(b[:]) & wire.FlagsRandom
	return nil
}

var errRandom = errors.New("random flags")

// loseAddress drops the address, if there is one, and every peer: what waits
// for them has the old source.
func (c *Client) loseAddress(now time.Time, out *Output) {
	if !c.address.IsValid() {
		return
	}
	out.Events = append(out.Events, Event{Kind: AddressLost, Address: c.address})
	c.address, c.own = wire.Address{}, netip.Addr{}
	c.peers.flush(now, c)
	c.stopConeTest(FilteringUnknown)
	c.stopInterval()
}
