package channel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, time.Millisecond)
		defer p.close()
		nobody := netip.MustParseAddrPort("[2001:db8::dead]:1")
		start := time.Now()
		if _, err := Dial(t.Context(), p.helper, nobody, p.config(password)); !errors.Is(err, ErrUnreachable) {
			t.Errorf("nobody: %v", err)
		}
		if took := time.Since(start); took != DefaultTimeout {
			t.Errorf("gave up after %v", took)
		}
		cause := errors.New("no route")
		socket := &failing{memConn: p.helper, err: cause}
		start = time.Now()
		if _, err := Dial(t.Context(), socket, nobody, p.config(password)); !errors.Is(err, ErrUnreachable) || !errors.Is(err, cause) {
			t.Errorf("no route: %v", err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("no route: gave up after %v", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := Dial(ctx, p.helper, nobody, p.config(password)); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		// another file secret is no answer at all.
		other := *p.inv
		other.FileSecret[0] ^= 1
		if _, err := Dial(t.Context(), p.helper, p.user.addr, DialConfig{Invitation: &other, Password: password}); !errors.Is(err, ErrUnreachable) {
			t.Errorf("other file secret: %v", err)
		}
		if got := p.outcomes(); got != "" {
			t.Errorf("attempts: %s", got)
		}
	})
}

// Every datagram fits Teredo's MTU with its headers.
func TestDatagramSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, time.Millisecond)
		defer p.close()
		largest := 0
		p.net.setHook(func(_, _ netip.AddrPort, b []byte) []byte {
			largest = max(largest, len(b))
			return b
		})
		user, helper := p.connect()
		out, _ := helper.OpenStream(t.Context(), KindScreen)
		_, in, _ := user.AcceptStream(t.Context())
		go func() {
			out.Write(make([]byte, 1<<20))
			out.Close()
		}()
		io.Copy(io.Discard, in)
		p.net.setHook(nil)
		if ip := largest + 8 + 40; ip > 1280 || largest != maxDatagram {
			t.Errorf("largest datagram %d, packet %d", largest, ip)
		}
		user.Close(0, "")
		helper.Close(0, "")
	})
}

// racerAddr is where target i of a race is dialled from.
func racerAddr(i int) netip.AddrPort {
	return netip.MustParseAddrPort(fmt.Sprintf("[2001:db8:2::%d]:60000", i+2))
}

func (p *pair) target(i int, to netip.AddrPort) Target {
	return Target{func(context.Context) (net.PacketConn, error) { return p.another(racerAddr(i).String()), nil }, to}
}

func TestRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 20*time.Millisecond)
		defer p.close()
		// A second listener of the same invitation, at another address.
		second := p.another("192.0.2.1:50002")
		l, err := Listen(second, ListenConfig{Guard: p.listener.guard, Identity: p.identity, OnAttempt: p.note})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		target := func(i int, to netip.AddrPort) Target {
			return p.target(i, to)
		}
		start := time.Now()
		c, winner, err := Race(t.Context(), []Target{
			target(0, netip.MustParseAddrPort("[2001:db8::dead]:1")),
			target(1, second.addr),
			target(2, p.user.addr),
		}, p.config(password))
		if err != nil || addrPort(winner.LocalAddr()) != racerAddr(1) {
			t.Fatalf("winner %v, %v", winner, err)
		}
		if took := time.Since(start); took > raceDelay+85*time.Millisecond {
			t.Errorf("took %v", took)
		}
		user, err := l.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.listener.Accept(t.Context()); !errors.Is(err, ErrUsed) {
			t.Errorf("the other listener: %v", err)
		}
		if _, err := l.Accept(t.Context()); !errors.Is(err, ErrUsed) {
			t.Errorf("a second Accept: %v", err)
		}
		if got := p.outcomes(); got != "accepted" {
			t.Errorf("attempts: %s", got)
		}
		c.Close(0, "")
		user.Close(0, "")
	})
}

// The error names every address that did not answer.
func TestRaceNamesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 20*time.Millisecond)
		defer p.close()
		dead := []string{"[2001:db8::dead]:1", "[2001:db8::dead]:2"}
		var targets []Target
		for i, to := range dead {
			targets = append(targets, p.target(i, netip.MustParseAddrPort(to)))
		}
		_, _, err := Race(t.Context(), targets, p.config(password))
		if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), dead[0]) || !strings.Contains(err.Error(), dead[1]) {
			t.Errorf("got %v", err)
		}
	})
}

// However many addresses answer, a wrong password is tried once.
func TestRaceSpendsOneAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 200*time.Millisecond)
		defer p.close()
		var targets []Target
		for i := range 4 {
			targets = append(targets, p.target(i, p.user.addr))
		}
		if _, _, err := Race(t.Context(), targets, p.config(wrongWord)); !errors.Is(err, ErrPassword) {
			t.Errorf("%v", err)
		}
		time.Sleep(time.Second)
		if got := p.outcomes(); got != "wrong password" {
			t.Errorf("attempts: %s", got)
		}
	})
}
