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

// ask has a dialogue with the gateway. There is one at a time in a Mapper
// (RFC 6886, 3.1). When ctx ends, an answer that is under way is still waited
// for, for lateAnswer: what the router grants must be known to be given back.
func (m *Mapper) ask(ctx context.Context, g Gateway, q question) (answer, error) {
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
	c, err := m.cfg.Host.Dial(ctx, "udp", g.Local.Addr(), netip.AddrPortFrom(g.Addr, pcp.ServerPort))
	if err != nil {
		return answer{}, err
	}
	defer c.Close()
	d := newDialogue(q, time.Now())
	stop := context.AfterFunc(ctx, func() {
		// The write deadline stays: nothing more will be written.
		_ = c.SetReadDeadline(time.Now().Add(lateAnswer))
	})
	defer stop()
	buf := make([]byte, pcp.MaxLen+1)
	for !d.ended {
		if ctx.Err() == nil {
			if p := d.poll(time.Now()); p != nil {
				if _, err := c.Write(p); err != nil {
					return answer{}, refusal(err)
				}
				_ = c.SetReadDeadline(d.next)
				if ctx.Err() != nil { // it ended in between
					_ = c.SetReadDeadline(time.Now().Add(lateAnswer))
				}
			}
			if d.ended {
				break
			}
		}
		n, err := c.Read(buf)
		var timeout net.Error
		switch {
		case err == nil:
			d.receive(time.Now(), buf[:n])
		case !errors.As(err, &timeout) || !timeout.Timeout():
			return answer{}, refusal(err)
		case ctx.Err() != nil:
			return answer{}, ctx.Err()
		}
	}
	return d.answer, d.err
}

// lateAnswer is how long an answer is waited for after another protocol won.
const lateAnswer = 250 * time.Millisecond

// refusal names what an ICMP error means here: nobody speaks either protocol.
func refusal(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("PCP, NAT-PMP: the router has no such service: %w", err)
	}
	return err
}
