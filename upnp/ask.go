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
// one at a time in a Mapper, until release (RFC 6886, 3.1). Ctx bounds the wait
// for that and nothing else: who comes late, and is alone, is not turned away.
func (m *Mapper) dialControl(ctx context.Context, g Gateway) (c net.Conn, release func(), err error) {
	select {
	case m.turn <- struct{}{}:
	default:
		select {
		case m.turn <- struct{}{}:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
	c, err = m.cfg.Host.Dial(context.WithoutCancel(ctx), "udp", g.Local.Addr(), netip.AddrPortFrom(g.Addr, pcp.ServerPort))
	if err != nil {
		<-m.turn
		return nil, nil, err
	}
	return c, func() { c.Close(); <-m.turn }, nil
}

// ask has a dialogue with the gateway. When ctx ends, an answer that is under
// way is still waited for a while: what the router grants must be known to be
// given back. A port is given up even then, by one packet. Start, if there is
// one, is called before the first packet and may forbid it.
//
// A host that stood still has its answers yet to read, or yet to come: the while
// begins when the end of ctx is noticed, and who wakes up late takes no silence
// for an answer.
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
	defer context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })()
	var last time.Time // for an answer; zero while ctx lives
	buf := make([]byte, pcp.MaxLen+1)
	for {
		ended := ctx.Err() != nil
		if !ended || q.lifetime == 0 && d.tries == 0 {
			if p := d.poll(time.Now()); p != nil {
				if _, err := c.Write(p); err != nil {
					return answer{}, fmt.Errorf("PCP, NAT-PMP: %w", refusal(err))
				}
			}
			if d.ended {
				return d.answer, d.err
			}
		}
		if d.tries == 0 {
			return answer{}, ctx.Err() // nothing was asked
		}
		until := d.next
		if ended {
			if last.IsZero() {
				last = time.Now().Add(lateness(ctx))
			}
			until = last
		}
		_ = c.SetReadDeadline(until)
		if !ended && ctx.Err() != nil {
			continue // it ended in between, and nothing would wake the reader
		}
		n, err := c.Read(buf)
		if now := time.Now(); isTimeout(err) && now.Sub(until) > stillness {
			_ = c.SetReadDeadline(now.Add(firstWait))
			n, err = c.Read(buf)
		}
		switch {
		case err == nil:
			d.receive(time.Now(), buf[:n])
		case !isTimeout(err):
			return answer{}, fmt.Errorf("PCP, NAT-PMP: %w", refusal(err))
		case ended && !time.Now().Before(last):
			return answer{}, ctx.Err()
		}
		if d.ended {
			return d.answer, d.err
		}
	}
}

// stillness is how late a host wakes up that must have stood still.
const stillness = 100 * time.Millisecond

// lateness is how long an answer is waited for after ctx has ended: longer if
// another protocol won, since programs are to end within a second.
func lateness(ctx context.Context) time.Duration {
	if errors.Is(context.Cause(ctx), errOvertaken) {
		return time.Second
	}
	return late
}

const late = 400 * time.Millisecond

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
