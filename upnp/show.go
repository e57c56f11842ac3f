package upnp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"shipworm/upnp/natpmp"
	"shipworm/upnp/pcp"
)

// Service is one protocol as a router speaks it.
type Service struct {
	Via  Via
	Took time.Duration // until it had answered
	// External is the router's external address, invalid if the protocol does
	// not tell one that could be.
	External netip.Addr
	// Device and Model are how a UPnP device calls itself: foreign text.
	Device, Model string
	// Err says why there is no such service; the rest is then zero.
	Err error
}

// Overview is what a router says about itself.
type Overview struct {
	Gateway  Gateway
	Services []Service  // PCP, NAT-PMP, UPnP, in this order
	External netip.Addr // invalid if no protocol tells one
	// DoubleNAT says that External is private or a carrier's.
	DoubleNAT bool
}

// Show asks the IPv4 router by every protocol what it is, and maps nothing. An
// overview without a single answer is no error.
func (m *Mapper) Show(ctx context.Context) (Overview, error) {
	g, err := m.gateway(netip.IPv4Unspecified())
	if err != nil {
		return Overview{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	o := Overview{Gateway: g, Services: make([]Service, 3)}
	var all sync.WaitGroup
	all.Go(func() { o.Services[2] = m.showDevice(ctx, g) })
	o.Services[0] = m.showPCP(ctx, g, new(uint32))
	if r := (*resultError)(nil); errors.As(o.Services[0].Err, &r) && r.name == pcp.UnsupportedOpcode.String() {
		o.Services[0].Err = nil // some have everything but the question
	}
	o.Services[1] = m.showNATPMP(ctx, g, new(uint32))
	all.Wait()
	for _, s := range o.Services {
		v := judge(s.External, g.onLink())
		if v != unusable && (!o.External.IsValid() || o.DoubleNAT && v == public) {
			o.External, o.DoubleNAT = s.External, v == inner
		}
	}
	return o, ctxErr(ctx, nil)
}

// External asks an IPv4 router for its external address, by NAT-PMP and UPnP at
// once, and returns the first that can be one; it may be private, behind another
// NAT. PCP tells it with a mapping only, and nothing is mapped here. It takes
// three seconds at most, and where NAT-PMP is spoken a round trip. The router is
// that of the local address, or the default one for an unspecified address.
func (m *Mapper) External(ctx context.Context, local netip.Addr) (netip.Addr, error) {
	g, err := m.gateway(local)
	if err != nil {
		return netip.Addr{}, err
	}
	within, cancel := context.WithTimeout(ctx, attemptTime)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	answers := make(chan Service, 2)
	all.Go(func() { answers <- m.showNATPMP(within, g, new(uint32)) })
	all.Go(func() { answers <- m.showDevice(within, g) })
	var errs [2]error
	for i := range errs {
		s := <-answers
		if judge(s.External, g.onLink()) != unusable {
			return s.External, nil
		}
		errs[i] = &ProtocolError{s.Via, cmp.Or(s.Err, errNoAddress)}
	}
	return netip.Addr{}, ctxErr(ctx, fmt.Errorf("upnp: router %v tells no external address: %w; %w", g.Addr, errs[0], errs[1]))
}

// errNoAddress: the router answers, and its address is none.
var errNoAddress = errors.New("its answer has none")

func (m *Mapper) showDevice(ctx context.Context, g Gateway) Service {
	d, err := m.findDevice(ctx, g)
	if err != nil {
		return Service{Via: ViaUPnP, Err: err}
	}
	return Service{Via: ViaUPnP, Took: d.took, External: d.external, Device: d.FriendlyName, Model: d.Model}
}

// showPCP asks for nothing but a sign of life, and the epoch with it
// (RFC 6887, 14.1).
func (m *Mapper) showPCP(ctx context.Context, g Gateway, epoch *uint32) Service {
	q := pcp.Request{Op: pcp.Announce, Client: g.Local.Addr()}
	s := Service{Via: ViaPCP}
	s.Took, s.Err = m.probe(ctx, g, q.Append(nil), func(b []byte) error {
		r, err := pcp.ParseResponse(b)
		switch {
		case err != nil && b[0] == 0:
			return &resultError{name: "that it knows NAT-PMP only"}
		case err != nil || !r.Answers(&q):
			return errNotAsked
		}
		*epoch = r.Epoch // a refusal tells it, too (RFC 6887, 7.2)
		if r.Result != pcp.Success {
			return &resultError{name: r.Result.String()}
		}
		return nil
	})
	return s
}

// showNATPMP asks for the external address (RFC 6886, 3.2).
func (m *Mapper) showNATPMP(ctx context.Context, g Gateway, epoch *uint32) Service {
	q := natpmp.Request{Op: natpmp.Address}
	s := Service{Via: ViaNATPMP}
	s.Took, s.Err = m.probe(ctx, g, q.Append(nil), func(b []byte) error {
		r, err := natpmp.ParseResponse(b)
		switch {
		case err != nil && b[0] == pcp.Version:
			return &resultError{name: "that it knows PCP only"}
		case err != nil || !r.Answers(&q):
			return errNotAsked
		}
		*epoch = r.Epoch
		if r.Result != natpmp.Success {
			return &resultError{name: r.Result.String()}
		}
		if judge(r.Addr, g.onLink()) != unusable {
			s.External = r.Addr
		}
		return nil
	})
	return s
}

// probe sends a packet until read takes an answer: errNotAsked is none.
func (m *Mapper) probe(ctx context.Context, g Gateway, packet []byte, read func([]byte) error) (time.Duration, error) {
	c, release, err := m.dialControl(ctx, g)
	if err != nil {
		return 0, err
	}
	defer release()
	defer context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })()
	start := time.Now()
	buf := make([]byte, pcp.MaxLen+1)
	const tries = 3
	for try := range tries {
		if _, err := c.Write(packet); err != nil {
			return 0, refusal(err)
		}
		if err := c.SetReadDeadline(time.Now().Add(firstWait << try)); err != nil {
			return 0, err
		}
		for ctx.Err() == nil {
			n, err := c.Read(buf)
			if isTimeout(err) {
				break
			} else if err != nil {
				return 0, refusal(err)
			}
			if err := read(buf[:n]); err != errNotAsked && n > 0 {
				return time.Since(start), err
			}
		}
		if ctx.Err() != nil {
			break
		}
	}
	return 0, ctxErr(ctx, ErrSilent)
}
