package channel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Two round trips from the dial to an authenticated connection, and what the
// Helper says at once arrives half a round trip later.
func TestTwoRoundTrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rtt = 50 * time.Millisecond
		p := newPair(t, rtt/2)
		defer p.close()
		start := time.Now()
		helper, err := p.dial(password)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 2*rtt+5*time.Millisecond {
			t.Errorf("authenticated after %v, want two round trips", took)
		}
		defer helper.Close(0, "")
		control, err := helper.OpenStream(t.Context(), KindControl)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(control, "hello"); err != nil {
			t.Fatal(err)
		}
		user, err := p.listener.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer user.Close(0, "")
		kind, stream, err := user.AcceptStream(t.Context())
		if err != nil || kind != KindControl {
			t.Fatalf("kind %d, %v", kind, err)
		}
		var b [5]byte
		if _, err := io.ReadFull(stream, b[:]); err != nil || string(b[:]) != "hello" {
			t.Fatalf("%q, %v", b, err)
		}
		if took := time.Since(start); took > 5*rtt/2+10*time.Millisecond {
			t.Errorf("first word after %v, want two and a half round trips", took)
		}
		if user.RemoteAddr().String() != helperAddr || helper.RemoteAddr().String() != userAddr {
			t.Errorf("addresses %v and %v", user.RemoteAddr(), helper.RemoteAddr())
		}
		if got := p.outcomes(); got != "accepted" {
			t.Errorf("attempts: %s", got)
		}
	})
}

func TestStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, time.Millisecond)
		defer p.close()
		user, helper := p.connect()
		defer user.Close(0, "")
		defer helper.Close(0, "")
		for _, kind := range []byte{KindControl, KindScreen, KindInput, 200} {
			out, err := helper.OpenStream(t.Context(), kind)
			if err != nil {
				t.Fatal(err)
			}
			got, in, err := user.AcceptStream(t.Context())
			if err != nil || got != kind {
				t.Fatalf("kind %d, %v; want %d", got, err, kind)
			}
			// The accepting side may speak first.
			data := bytes.Repeat([]byte{kind}, 200_000)
			go func() {
				in.Write(data)
				in.Close()
			}()
			if b, err := io.ReadAll(out); err != nil || !bytes.Equal(b, data) {
				t.Fatalf("%d bytes, %v", len(b), err)
			}
			out.CancelWrite(7)
			var gone *ErrStream
			if _, err := io.ReadAll(in); !errors.As(err, &gone) || gone.Code != 7 {
				t.Errorf("cancelled write: %v", err)
			}
		}
		out, _ := helper.OpenStream(t.Context(), KindInput)
		out.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := out.Read(make([]byte, 1)); !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err) {
			t.Errorf("deadline: %v", err)
		}
	})
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func TestClose(t *testing.T) {
	for _, c := range []struct {
		name string
		lose int // how many of the last packets are lost
		want bool
	}{{"no loss", 0, true}, {"first lost", 1, true}, {"two lost", 2, true}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, 10*time.Millisecond)
				defer p.close()
				user, helper := p.connect()
				time.Sleep(time.Second) // acknowledgements have settled
				lost := 0
				p.net.setHook(func(from, to netip.AddrPort, b []byte) []byte {
					if lost < c.lose {
						lost++
						return nil
					}
					return b
				})
				start := time.Now()
				helper.Close(42, "the helper went home")
				<-user.Done()
				if took := time.Since(start); took > 200*time.Millisecond {
					t.Errorf("the peer learned after %v", took)
				}
				var closed *ErrClosedByPeer
				if !errors.As(user.Err(), &closed) || closed.Code != 42 || closed.Reason != "the helper went home" {
					t.Errorf("user: %v", user.Err())
				}
				if !errors.Is(helper.Err(), net.ErrClosed) {
					t.Errorf("helper: %v", helper.Err())
				}
				if _, err := user.OpenStream(t.Context(), 0); !errors.As(err, &closed) {
					t.Errorf("OpenStream: %v", err)
				}
				user.Close(0, "")
			})
		})
	}
}

func TestCloseReasonIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 0)
		defer p.close()
		user, helper := p.connect()
		user.Close(1<<63, strings.Repeat("ä", 1000)+"\xff")
		<-helper.Done()
		var closed *ErrClosedByPeer
		if !errors.As(helper.Err(), &closed) || closed.Reason != strings.Repeat("ä", 128) {
			t.Errorf("%v", helper.Err())
		}
		helper.Close(0, "")
	})
}

// RR-01: a peer that is silent for 15 s is lost; one that is idle is not.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 10*time.Millisecond)
		defer p.close()
		user, helper := p.connect()
		const heartbeat = keepAlive + time.Second // with its way there and back
		before := helper.Stats()
		last := before
		for range 10 * time.Minute / heartbeat {
			time.Sleep(heartbeat)
			now := helper.Stats()
			if now.PacketsReceived == last.PacketsReceived {
				t.Errorf("no packet in %v: no heartbeat", heartbeat)
			}
			last = now
		}
		if user.Err() != nil || helper.Err() != nil {
			t.Fatalf("idle: %v, %v", user.Err(), helper.Err())
		}
		if sent := last.BytesSent - before.BytesSent; sent > 600*2000/8 {
			t.Errorf("%d bytes in ten idle minutes", sent)
		}
		p.net.setHook(func(_, _ netip.AddrPort, _ []byte) []byte { return nil })
		start := time.Now()
		<-user.Done()
		<-helper.Done()
		if took := time.Since(start); took < 10*time.Second || took > 20*time.Second {
			t.Errorf("lost after %v", took)
		}
		if !errors.Is(user.Err(), ErrLost) || !errors.Is(helper.Err(), ErrLost) {
			t.Errorf("%v, %v", user.Err(), helper.Err())
		}
		user.Close(0, "")
		helper.Close(0, "")
	})
}

// RR-02, the Helper's half: his NAT restarts and gives him another address;
// the session goes on without a word from anybody.
func TestHelperMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 10*time.Millisecond)
		defer p.close()
		user, helper := p.connect()
		out, err := helper.OpenStream(t.Context(), KindControl)
		if err != nil {
			t.Fatal(err)
		}
		_, in, err := user.AcceptStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		moved := netip.MustParseAddrPort("[2001:db8:7777::1]:7")
		p.net.mu.Lock()
		p.net.conns[moved] = p.helper
		p.net.mu.Unlock()
		p.net.setHook(func(from, to netip.AddrPort, b []byte) []byte {
			if from == p.helper.addr {
				p.net.inject(moved, to, b)
				return nil
			}
			if to == p.helper.addr {
				return nil // the old mapping is gone
			}
			return b
		})
		time.Sleep(time.Minute)
		start := time.Now()
		go out.Write([]byte("x"))
		if _, err := io.ReadFull(in, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		go in.Write([]byte("y"))
		if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("a word and its echo took %v", took)
		}
		if user.RemoteAddr() != moved {
			t.Errorf("the User's side talks to %v", user.RemoteAddr())
		}
		user.Close(0, "")
		helper.Close(0, "")
	})
}

// A socket that fails for a while is loss, not the end.
func TestSocketErrorsAreLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, time.Millisecond)
		defer p.close()
		helperSocket := &failing{memConn: p.helper}
		helper, err := Dial(t.Context(), helperSocket, p.user.addr, p.config(password))
		if err != nil {
			t.Fatal(err)
		}
		user, err := p.listener.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		helperSocket.set(errors.New("network is unreachable"))
		time.Sleep(8 * time.Second)
		helperSocket.set(nil)
		time.Sleep(time.Minute)
		if user.Err() != nil || helper.Err() != nil {
			t.Errorf("%v, %v", user.Err(), helper.Err())
		}
		user.Close(0, "")
		helper.Close(0, "")
	})
}

type failing struct {
	*memConn
	mu  sync.Mutex
	err error
}

func (f *failing) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *failing) WriteTo(b []byte, a net.Addr) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return 0, f.err
	}
	return f.memConn.WriteTo(b, a)
}

func TestAcceptEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.listener.Accept(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ctx: %v", err)
		}
		time.AfterFunc(time.Second, func() { p.close() })
		if _, err := p.listener.Accept(t.Context()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	})
}

// no way around a secret.
func TestConfigRefused(t *testing.T) {
	inv, identity := testInvitation(t)
	bare := *inv
	bare.FileSecret = [16]byte{}
	pc := newMemNet(0).listen(t, userAddr)
	for name, cfg := range map[string]ListenConfig{
		"empty":          {},
		"no password":    {Invitation: inv, Identity: identity},
		"no identity":    {Invitation: inv, Password: password},
		"no file secret": {Invitation: &bare, Password: password, Identity: identity},
	} {
		if l, err := Listen(pc, cfg); err == nil {
			l.Close()
			t.Errorf("Listen: %s: no error", name)
		}
	}
	for name, cfg := range map[string]DialConfig{
		"empty":          {},
		"no password":    {Invitation: inv},
		"no file secret": {Invitation: &bare, Password: password},
	} {
		if _, err := Dial(t.Context(), pc, pc.addr, cfg); err == nil {
			t.Errorf("Dial: %s: no error", name)
		}
	}
}

// neither logs nor errors nor printed configs show a secret.
func TestSecretsAreNotLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, time.Millisecond)
		p.close()
		var out syncBuffer
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		guard := p.guard(time.Now())
		l, err := Listen(p.user, ListenConfig{Guard: guard, Identity: p.identity, Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		cfg := p.config(wrongWord)
		cfg.Logger = log
		_, err = Dial(t.Context(), p.helper, p.user.addr, cfg)
		fmt.Fprintln(&out, err)
		cfg.Password = password
		c, err := Dial(t.Context(), p.helper, p.user.addr, cfg)
		if err != nil {
			t.Fatal(err)
		}
		user, err := l.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c.Close(0, "")
		user.Close(0, "")
		lc := ListenConfig{Invitation: p.inv, Password: password}
		fmt.Fprintf(&out, "%v %+v %#v %v %+v %#v\n", cfg, cfg, cfg, lc, lc, lc)
		synctest.Wait()
		text := out.String()
		for _, secret := range []string{password, wrongWord, strings.ReplaceAll(password, "-", ""),
			fmt.Sprintf("%x", p.inv.FileSecret), fmt.Sprint(p.inv.FileSecret)} {
			if strings.Contains(text, secret) {
				t.Errorf("%q is in\n%s", secret, text)
			}
		}
		if !strings.Contains(text, "helper refused") || !strings.Contains(text, "helper connected") {
			t.Errorf("the log is silent:\n%s", text)
		}
	})
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// The same over the kernel's sockets, on the real clock.
func TestLoopback(t *testing.T) {
	inv, identity := testInvitation(t)
	listen := func() *net.UDPConn {
		pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { pc.Close() })
		return pc
	}
	userSocket, helperSocket := listen(), listen()
	l, err := Listen(userSocket, ListenConfig{Invitation: inv, Password: password, Identity: identity})
	if err != nil {
		t.Fatal(err)
	}
	helper, err := Dial(t.Context(), helperSocket, addrPort(userSocket.LocalAddr()), DialConfig{Invitation: inv, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	user, err := l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // the session lives on
	out, err := helper.OpenStream(t.Context(), KindControl)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err = user.AcceptStream(t.Context()); err != nil {
		t.Fatal(err)
	}
	user.Close(3, "bye")
	var closed *ErrClosedByPeer
	if _, err := out.Read(make([]byte, 1)); !errors.As(err, &closed) || closed.Code != 3 {
		t.Errorf("%v", err)
	}
	helper.Close(0, "")
}
