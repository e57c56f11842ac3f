package upnp

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"shipworm/upnp/natpmp"
	"shipworm/upnp/pcp"
)

// question is what a gateway is asked in PCP or NAT-PMP: to map a port, or,
// with no lifetime, to give it up.
type question struct {
	protocol Protocol
	internal netip.AddrPort
	external netip.AddrPort // a suggestion
	lifetime time.Duration
	nonce    pcp.Nonce
	via      Via           // ViaPCP or ViaNATPMP to speak only that, 0 to find out
	patience time.Duration // with all tries, 0 for maxTime
}

// answer is what the gateway said.
type answer struct {
	via      Via
	external netip.AddrPort // its address is invalid if the gateway told none
	lifetime time.Duration
	epoch    uint32
}

// dialogue is one question to one gateway. It speaks PCP and, as soon as the
// gateway shows that it does not, or says nothing, NAT-PMP (RFC 6887,
// appendix A), with one packet outstanding at a time (RFC 6886, 3.1).
//
//	         PCP answer
//	PCP ---------------------> done
//	 |  ^                       ^
//	 |  | silence               | NAT-PMP answer
//	 v  |                       |
//	NAT-PMP address --answer--> NAT-PMP map
//
// It is handed the time and packets, and owns neither clock nor socket.
type dialogue struct {
	question
	now   Via // what is spoken at the moment
	fixed bool
	addr  netip.Addr // from NAT-PMP
	asked bool       // the address was told, or cannot be
	tries int
	next  time.Time // of the next packet
	limit time.Time // of the whole
	ended bool
	answer
	err error
}

// Retransmission. RFC 6886, 3.1 begins with 250 ms; RFC 6887's 3 s would keep a
// person waiting for what a LAN answers in milliseconds.
const (
	firstWait = 250 * time.Millisecond
	maxTries  = 4 // 250, 500, 1000 and 1000 ms
	maxWait   = time.Second
	maxTime   = 2750 * time.Millisecond // all tries, in whatever order
)

func newDialogue(q question, now time.Time) *dialogue {
	d := &dialogue{question: q, now: q.via, fixed: q.via != 0, next: now, limit: now.Add(cmp.Or(q.patience, maxTime))}
	if !d.fixed {
		d.now = ViaPCP
	}
	if q.lifetime == 0 || q.internal.Addr().Is6() {
		d.asked = true // who gives a port up does not care about the address
	}
	if q.internal.Addr().Is6() { // NAT-PMP knows IPv4 only
		d.now, d.fixed = ViaPCP, true
	}
	return d
}

// poll returns the packet to send now, if one is due. The dialogue may end
// instead.
func (d *dialogue) poll(now time.Time) []byte {
	if d.ended || now.Before(d.next) {
		return nil
	}
	if d.tries == maxTries || !now.Before(d.limit) {
		var err error = &ProtocolError{d.now, ErrSilent}
		if !d.fixed {
			err = fmt.Errorf("PCP, NAT-PMP: %w", ErrSilent)
		}
		d.end(answer{}, err)
		return nil
	}
	if d.tries > 0 && !d.fixed {
		d.swap()
	}
	if d.next = now.Add(min(firstWait<<d.tries, maxWait)); d.next.After(d.limit) {
		d.next = d.limit
	}
	d.tries++
	return d.packet()
}

func (d *dialogue) swap() { d.now = ViaPCP + ViaNATPMP - d.now }

func (d *dialogue) packet() []byte {
	if d.now == ViaPCP {
		q := d.pcp()
		return q.Append(nil)
	}
	q := d.natpmp()
	return q.Append(nil)
}

func (d *dialogue) pcp() pcp.Request {
	q := pcp.Request{
		Op: pcp.Map, Client: d.internal.Addr(), Lifetime: d.question.lifetime,
		Mapping: pcp.Mapping{Nonce: d.nonce, Protocol: uint8(d.protocol), Internal: d.internal.Port()},
	}
	if q.Lifetime > 0 { // RFC 6887, 15: a deletion suggests nothing
		q.Mapping.External = d.question.external
	}
	return q
}

func (d *dialogue) natpmp() natpmp.Request {
	if !d.asked {
		return natpmp.Request{Op: natpmp.Address}
	}
	q := natpmp.Request{Op: natpmp.MapUDP, Internal: d.internal.Port(), Lifetime: d.question.lifetime}
	if d.protocol == TCP {
		q.Op = natpmp.MapTCP
	}
	if q.Lifetime > 0 { // RFC 6886, 3.4: a deletion names no external port
		q.External = d.question.external.Port()
	}
	return q
}

// receive takes a packet from the gateway. What answers nothing that was asked
// is ignored.
func (d *dialogue) receive(now time.Time, b []byte) {
	if d.ended || len(b) == 0 {
		return
	}
	if b[0] == 0 {
		d.receiveNATPMP(now, b)
	} else {
		d.receivePCP(now, b)
	}
}

func (d *dialogue) receivePCP(now time.Time, b []byte) {
	r, err := pcp.ParseResponse(b)
	q := d.pcp()
	switch {
	case err != nil || d.question.via == ViaNATPMP:
		return
	case r.Result == pcp.UnsupportedVersion && d.now == ViaNATPMP && !d.fixed:
		d.switchTo(now, ViaPCP) // RFC 6886's packet in front of a PCP server
		return
	case !r.Answers(&q):
		return
	}
	if q.Lifetime == 0 && r.Result == pcp.NoResources {
		r.Result = pcp.Success // as miniupnpd says that it has none to delete (RFC 6887, 15.1 has success)
	}
	if r.Result != pcp.Success {
		d.end(answer{}, &ProtocolError{ViaPCP, &resultError{r.Result.String(), r.Result == pcp.NotAuthorized}})
		return
	}
	a := answer{via: ViaPCP, lifetime: min(r.Lifetime, pcp.MaxLifetime), epoch: r.Epoch, external: r.Mapping.External}
	if d.question.lifetime > 0 && (a.lifetime <= 0 || a.external.Port() == 0) {
		d.end(answer{}, &ProtocolError{ViaPCP, errSenseless})
		return
	}
	d.end(a, nil)
}

func (d *dialogue) receiveNATPMP(now time.Time, b []byte) {
	r, err := natpmp.ParseResponse(b)
	q := d.natpmp()
	switch {
	case err != nil || d.question.via == ViaPCP || d.internal.Addr().Is6():
		return
	case r.Result == natpmp.UnsupportedVersion && d.now == ViaPCP && !d.fixed:
		d.switchTo(now, ViaNATPMP) // RFC 6887, 9
		return
	case d.now == ViaPCP && d.tries < 2 || !r.Answers(&q):
		return // NAT-PMP was not asked anything, or something else
	}
	if r.Result != natpmp.Success {
		d.end(answer{}, &ProtocolError{ViaNATPMP, &resultError{r.Result.String(), r.Result == natpmp.NotAuthorized}})
		return
	}
	if !d.asked {
		d.addr, d.asked = r.Addr, true
		d.switchTo(now, ViaNATPMP)
		return
	}
	a := answer{via: ViaNATPMP, lifetime: min(r.Lifetime, pcp.MaxLifetime), epoch: r.Epoch, external: netip.AddrPortFrom(d.addr, r.External)}
	if d.question.lifetime > 0 && (a.lifetime <= 0 || r.External == 0) {
		d.end(answer{}, &ProtocolError{ViaNATPMP, errSenseless})
		return
	}
	d.end(a, nil)
}

// errSenseless is a yes that means nothing.
var errSenseless = errors.New("the router granted no time or no port")

// switchTo goes on in the protocol that the gateway has shown to speak.
func (d *dialogue) switchTo(now time.Time, v Via) {
	d.now, d.fixed, d.tries, d.next = v, true, 0, now
}

func (d *dialogue) end(a answer, err error) { d.ended, d.answer, d.err = true, a, err }

// resultError is a gateway's refusal.
type resultError struct {
	name    string
	foreign bool // not authorized: another's, or switched off
}

func (e *resultError) Error() string { return "the router answers " + e.name }
func (e *resultError) Is(target error) bool {
	return target == ErrNotOurs && e.foreign
}
