package upnp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"shipworm/upnp/pcp"
)

// dialControl opens a socket to the gateway's PCP and NAT-PMP port. There is
// one at a time in a Mapper, until release (RFC 6886, 3.1).
func (m *Mapper) dialControl(ctx context.Context, g Gateway) (c net.Conn, release func(), err error) {
	select {
	case m.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	c, err = m.cfg.Host.Dial(ctx, "udp", g.Local.Addr(), netip.AddrPortFrom(g.Addr, pcp.ServerPort))
	if err != nil {
		<-m.turn
		return nil, nil, err
	}
	return c, func() { c.Close(); <-m.turn }, nil
}

// ask has a dialogue with the gateway. When ctx ends, an answer that is under
// way is still waited for a while: what the router grants must be known to be
// given back. Start, if there is one, is called before the first packet
// and may forbid it.
func (m *Mapper) ask(ctx context.Context, g Gateway, q question, start func() bool) (answer, error) {
	c, release, err := m.dialControl(ctx, g)
	if err != nil {
		return answer{}, err
	}
	defer release()
	if start != nil && !start() {
		return answer{}, errOvertaken
	}
	d := newDialogue(q, time.Now())
	defer context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Now().Add(lateness(ctx))) })()
	buf := make([]byte, pcp.MaxLen+1)
	for {
		if ctx.Err() == nil {
			if p := d.poll(time.Now()); p != nil {
				if _, err := c.Write(p); err != nil {
					return answer{}, fmt.Errorf("PCP, NAT-PMP: %w", refusal(err))
				}
				_ = c.SetReadDeadline(d.next)
				if ctx.Err() != nil { // it ended in between
					_ = c.SetReadDeadline(time.Now().Add(lateness(ctx)))
				}
			}
		}
		if d.ended {
			return d.answer, d.err
		}
		n, err := c.Read(buf)
		switch {
		case err == nil:
			d.receive(time.Now(), buf[:n])
		case !isTimeout(err):
			return answer{}, fmt.Errorf("PCP, NAT-PMP: %w", refusal(err))
		case ctx.Err() != nil:
			return answer{}, ctx.Err()
		}
		if d.ended {
			return d.answer, d.err
		}
	}
}

// lateness is how long an answer is waited for after ctx has ended: longer if
// another protocol won, since programs are to end within a second.
func lateness(ctx context.Context) time.Duration {
	if errors.Is(context.Cause(ctx), errOvertaken) {
		return time.Second
	}
	return 400 * time.Millisecond
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// refusal names what an ICMP error means here: nobody speaks either protocol.
func refusal(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return errNoService
	}
	return err
}

// errOvertaken: another protocol has asked for the mapping.
var errOvertaken = errors.New("another protocol was faster")

var errNoService = errors.New("the router has no such service")

// ctxErr returns why ctx was ended by its owner, or err if it was not: that a
// bound of ours was reached is no news.
func ctxErr(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return err
}
