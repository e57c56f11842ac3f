package channel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const strangerAddr = "[2001:db8:666::1]:6666"

// A recorder keeps what crosses the network.
type recorder struct {
	mu        sync.Mutex
	datagrams []memRecord
}

type memRecord struct {
	from, to netip.AddrPort
	data     []byte
}

func (r *recorder) hook(from, to netip.AddrPort, b []byte) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.datagrams = append(r.datagrams, memRecord{from, to, append([]byte(nil), b...)})
	return b
}

// sizes lists the lengths of what went to an address.
func (r *recorder) sizes(to netip.AddrPort) []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []int
	for _, d := range r.datagrams {
		if d.to == to {
			out = append(out, len(d.data))
		}
	}
	return out
}

// strangers get 0 bytes back, whatever they say.
func TestProbesGetNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, time.Millisecond)
		defer p.close()
		var honest recorder
		p.net.setHook(honest.hook)
		_, err := p.dial(wrongWord)
		if !errors.Is(err, ErrPassword) {
			t.Fatal(err)
		}
		probes := [][]byte{
			{}, {0}, {0xc0}, make([]byte, 15), make([]byte, 16), make([]byte, 17), make([]byte, 1500),
			[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
			[]byte("SSH-2.0-OpenSSH_9.9\r\n"),
			[]byte("RFB 003.008\n"),
			{0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0},               // TLS
			{3, 0, 0, 19, 14, 0xe0, 0, 0, 0, 0, 0, 1, 0, 8}, // RDP
			append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, // STUN
				make([]byte, 12)...),
			append([]byte{0xca, 0xba, 0xba, 0xba, 0xba, 8}, make([]byte, 1194)...), // QUIC, unknown version
			append([]byte{0xc0, 0, 0, 0, 1, 8}, make([]byte, 1194)...),             // QUIC, version 1
		}
		random := rand.New(rand.NewPCG(1, 2))
		for range 200 {
			b := make([]byte, random.IntN(1300))
			for i := range b {
				b[i] = byte(random.Uint32())
			}
			probes = append(probes, b)
		}
		// What an honest Helper sent, with one bit changed; and what the
		// User sent, back to him.
		time.Sleep(time.Second) // until the two have said everything
		p.net.setHook(nil)
		for _, d := range honest.datagrams {
			if d.to == p.user.addr {
				b := append([]byte(nil), d.data...)
				b[random.IntN(len(b))] ^= 1
				probes = append(probes, b, d.data[:len(d.data)-tagSize])
			} else {
				probes = append(probes, d.data)
			}
		}
		stranger := p.another(strangerAddr)
		var after recorder
		p.net.setHook(after.hook)
		for _, b := range probes {
			p.net.inject(stranger.addr, p.user.addr, b)
		}
		time.Sleep(30 * time.Second)
		if got := after.sizes(stranger.addr); len(got) != 0 {
			t.Errorf("answers of %v bytes", got)
		}
		if dropped := p.listener.link.knock.dropped.Load(); dropped < uint64(len(probes)) {
			t.Errorf("%d of %d dropped", dropped, len(probes))
		}
		if got := p.outcomes(); got != "wrong password" {
			t.Errorf("attempts: %s", got)
		}
	})
}

// junk burns nothing, and does not keep the Helper out.
func TestJunkBurnsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, time.Millisecond)
		defer p.close()
		for i := range 100_000 {
			junk := make([]byte, 1216)
			junk[0], junk[1], junk[2] = 0xc0|byte(i), byte(i>>8), byte(i>>16)
			p.user.inbox <- memDatagram{netip.MustParseAddrPort(strangerAddr), junk}
		}
		user, helper := p.connect()
		if got := p.outcomes(); got != "accepted" {
			t.Errorf("attempts: %s", got)
		}
		user.Close(0, "")
		helper.Close(0, "")
	})
}

// five wrong passwords burn the invitation; both sides get typed errors.
func TestWrongPasswords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 10*time.Millisecond)
		defer p.close()
		for i := range 5 {
			if err := p.listener.guard.Cause(); err != nil {
				t.Fatalf("burned after %d: %v", i, err)
			}
			if _, err := p.dial(wrongWord); !errors.Is(err, ErrPassword) {
				t.Fatalf("attempt %d: %v", i, err)
			}
			time.Sleep(time.Second)
		}
		if _, err := p.listener.Accept(t.Context()); !errors.Is(err, ErrBurned) {
			t.Errorf("Accept: %v", err)
		}
		// The right one comes too late.
		if _, err := p.dial(password); !errors.Is(err, ErrPassword) {
			t.Errorf("after burning: %v", err)
		}
		time.Sleep(time.Second)
		want := strings.Repeat("wrong password, ", 5) + "too many wrong passwords"
		if got := p.outcomes(); got != want {
			t.Errorf("attempts: %s", got)
		}
		for i, a := range p.attempts[:5] {
			if a.Wrong != i+1 || a.Remote != p.helper.addr {
				t.Errorf("attempt %d: %+v", i, a)
			}
		}
	})
}

// of 100 parallel guesses at most 5 are evaluated.
func TestParallelGuesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 10*time.Millisecond)
		defer p.close()
		var wg sync.WaitGroup
		var mu sync.Mutex
		answers := map[string]int{}
		for i := range 100 {
			socket := p.another(fmt.Sprintf("[2001:db8:%x::1]:1", i+100))
			wg.Go(func() {
				_, err := Dial(context.Background(), socket, p.user.addr, p.config(wrongWord))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case errors.Is(err, ErrPassword):
					answers["wrong"]++
				case errors.Is(err, ErrBusy), errors.Is(err, ErrUnreachable):
					answers["busy"]++
				default:
					t.Errorf("%v", err)
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Second)
		p.outcomes()
		wrong, tooMany := 0, 0
		for _, a := range p.attempts {
			switch a.Outcome {
			case WrongPassword:
				wrong++
			case TooMany:
				tooMany++
			}
		}
		if wrong != 5 || wrong+tooMany != answers["wrong"] {
			t.Errorf("%d evaluated, %d not, answers %v", wrong, tooMany, answers)
		}
	})
}

// wrong password, burned and expired give the same answer: the same
// bytes in number on the stream, the same close, whatever the Helper confirms.
// (How many of QUIC's own frames ride in a datagram beside it is chance.) That
// the messages have fixed lengths is shown by TestExchangeBitFlips.
func TestSameAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 10*time.Millisecond)
		defer func() { p.close() }()
		type answer struct{ exchange, dial, bytes, end any }
		ask := func(g *Guard, word string) (a answer) {
			p.listen(g)
			_, a.dial = p.dial(word)
			d, err := connect(t.Context(), p.helper, p.user.addr, p.config(word))
			if err != nil {
				t.Fatal(err)
			}
			defer d.abandon()
			stream, err := d.quic.OpenStreamSync(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			b, err := newBinding(d.id, d.quic.ConnectionState().TLS)
			if err != nil {
				t.Fatal(err)
			}
			var heard bytes.Buffer
			a.exchange = authenticateHelper(&teed{stream, &heard}, b, d.secret, nil)
			if _, err := stream.Write(make([]byte, confirmSize)); err != nil {
				t.Fatal(err)
			}
			_, err = io.Copy(&heard, stream)
			a.bytes, a.end = heard.Len(), fmt.Sprint(err)
			return a
		}
		expired := p.guard(time.Now().Add(7 * time.Hour))
		burned := p.guard(time.Now())
		for range maxAttempts {
			burned.begin()
			burned.fail(func(int) {})
		}
		if !errors.Is(expired.Cause(), ErrExpired) || !errors.Is(burned.Cause(), ErrBurned) {
			t.Fatal(expired.Cause(), burned.Cause())
		}
		want := ask(p.guard(time.Now()), wrongWord)
		if want.exchange != ErrPassword || want.dial != ErrPassword || want.bytes != answerSize {
			t.Fatalf("%v", want)
		}
		for name, g := range map[string]*Guard{"expired": expired, "burned": burned} {
			for _, word := range []string{password, wrongWord} {
				if got := ask(g, word); got != want {
					t.Errorf("%s: %v, want %v", name, got, want)
				}
			}
		}
		if got := p.outcomes(); strings.Count(got, "expired") != 4 || strings.Count(got, "too many") != 4 {
			t.Errorf("the User is told: %s", got)
		}
	})
}

// teed keeps what was read.
type teed struct {
	io.ReadWriter
	heard *bytes.Buffer
}

func (t *teed) Read(b []byte) (int, error) {
	n, err := t.ReadWriter.Read(b)
	t.heard.Write(b[:n])
	return n, err
}

// the User's side ends the wait when the life is over.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, time.Millisecond)
		defer p.close()
		start := time.Now()
		if _, err := p.listener.Accept(t.Context()); !errors.Is(err, ErrExpired) {
			t.Errorf("%v", err)
		}
		if took := time.Since(start); took < 6*time.Hour || took > 6*time.Hour+time.Second {
			t.Errorf("after %v", took)
		}
	})
}

// recorded datagrams open nothing, are not answered, and cost no attempt.
func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, time.Millisecond)
		defer func() { p.close() }()
		var r recorder
		p.net.setHook(r.hook)
		user, helper := p.connect()
		helper.Close(0, "")
		<-user.Done()
		user.Close(0, "")
		p.net.setHook(nil)
		replay := func(from netip.AddrPort) (answers int) {
			var after recorder
			p.net.setHook(after.hook)
			for _, d := range r.datagrams {
				if d.to == p.user.addr {
					p.net.inject(from, d.to, d.data)
				}
			}
			time.Sleep(30 * time.Second)
			p.net.setHook(nil)
			return len(after.sizes(from))
		}
		stranger := p.another(strangerAddr)
		for _, from := range []netip.AddrPort{p.helper.addr, stranger.addr} {
			if n := replay(from); n != 0 {
				t.Errorf("%d answers to %v", n, from)
			}
		}
		// Even a listener that remembers nothing opens no session.
		p.listen(p.guard(time.Now()))
		replay(stranger.addr)
		if got := p.outcomes(); got != "accepted" {
			t.Errorf("attempts: %s", got)
		}
		if err := p.listener.guard.Cause(); err != nil {
			t.Errorf("the invitation ended: %v", err)
		}
	})
}

// a man in the middle who holds the file secret and terminates TLS gets
// no session, even from a Helper who does not look at the certificate.
func TestMiddle(t *testing.T) {
	for _, c := range []struct {
		name    string
		skipPin bool
		want    error
	}{{"pinned", false, ErrIdentity}, {"not pinned", true, ErrPassword}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, time.Millisecond)
				defer p.close()
				towardsHelper, towardsUser := p.another(strangerAddr), p.another("[2001:db8:666::2]:6666")
				middle := newMiddle(t, p, towardsHelper, towardsUser)
				defer middle.close()
				cfg := p.config(password)
				cfg.skipPin = c.skipPin
				for range 4 {
					if _, err := Dial(t.Context(), p.helper, towardsHelper.addr, cfg); !errors.Is(err, c.want) {
						t.Errorf("%v, want %v", err, c.want)
					}
				}
				time.Sleep(20 * time.Second)
				if got := p.outcomes(); strings.Contains(got, "accepted") {
					t.Errorf("attempts: %s", got)
				}
				if c.skipPin && middle.forwarded() == 0 {
					t.Error("the middle did not even try")
				}
			})
		})
	}
}

// with 1,000 strangers and as many half-open connections as fit, an
// honest Helper is in within 2 s.
func TestSlowLoris(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 10*time.Millisecond)
		defer p.close()
		// Strangers who do not know the file secret.
		for i := range 1000 {
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 1)
			p.net.inject(from, p.user.addr, append([]byte{0xc0, 0, 0, 0, 1}, make([]byte, 1195)...))
		}
		// Holders of the file, who connect and then say nothing.
		var loris []*pending
		busy := 0
		for prefix := range 3 {
			for i := range 8 {
				socket := p.another(fmt.Sprintf("[2001:db8:bad:%d::%d]:9", prefix, i+1))
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				l, err := connect(ctx, socket, p.user.addr, p.config(wrongWord))
				cancel()
				if err == nil {
					loris = append(loris, l)
				} else if errors.Is(err, ErrBusy) {
					busy++
				}
			}
		}
		if len(loris) != 12 || busy != 12 {
			t.Errorf("%d connected, %d were refused", len(loris), busy)
		}
		start := time.Now()
		user, helper := p.connect()
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("honest Helper in after %v", took)
		}
		time.Sleep(authDeadline)
		for i, l := range loris {
			if l.quic.Context().Err() == nil {
				t.Errorf("loris %d lives after %v", i, authDeadline)
			}
			l.abandon()
		}
		user.Close(0, "")
		helper.Close(0, "")
		synctest.Wait()
		if p.listener.guard.total != 0 {
			t.Errorf("%d half-open", p.listener.guard.total)
		}
	})
}

// a second Helper, right password or not, never disturbs the session.
func TestSecondHelper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 5*time.Millisecond)
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
		for i := range 100 {
			socket := p.another(fmt.Sprintf("[2001:db8:3::%d]:9", i+1))
			word := password
			if i%2 == 0 {
				word = wrongWord
			}
			if _, err := Dial(t.Context(), socket, p.user.addr, p.config(word)); !errors.Is(err, ErrBusy) {
				t.Fatalf("second Helper: %v", err)
			}
			start := time.Now()
			if _, err := out.Write([]byte{byte(i)}); err != nil {
				t.Fatal(err)
			}
			var b [1]byte
			if _, err := io.ReadFull(in, b[:]); err != nil || b[0] != byte(i) {
				t.Fatalf("%v, %v", b, err)
			}
			if took := time.Since(start); took > 10*time.Millisecond {
				t.Errorf("a word took %v", took)
			}
		}
		if got := p.outcomes(); got != "accepted"+strings.Repeat(", another helper is connected", 100) {
			t.Errorf("attempts: %s", got)
		}
		user.Close(0, "")
		helper.Close(0, "")
	})
}
