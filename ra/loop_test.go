package ra

import (
	"context"
	"fmt"
	"image"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"shipworm/internal/leak"
	"shipworm/ra/face"
	"shipworm/ra/invite"
	"shipworm/ra/rfb"
	"shipworm/ra/screen"
	"shipworm/ra/sessionlog"
	"shipworm/testnet/link"
	"shipworm/testnet/sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leak.Patient(m)) }

// line is a Network whose sockets can all be cut off, which is how a peer
// vanishes without a word.
type line struct {
	open func() (net.PacketConn, error)

	mu    sync.Mutex
	cut   bool
	sent  atomic.Int64  // datagrams
	bytes atomic.Int64  // of them, with IPv6 and UDP headers
	delay time.Duration // of what is sent
	rate  int           // bit/s of what is sent, 0 for unlimited; the queue holds half a second
	free  time.Time     // when the line is free again
}

// newLines makes the networks of the User, of the Helper and of somebody else.
// A test has hosts of a simulated Internet, whose time is that of its bubble; a
// benchmark has the kernel's loopback.
func newLines(t testing.TB) (lines [3]*line) {
	t.Helper()
	if _, ok := t.(*testing.B); ok {
		for i := range lines {
			lines[i] = &line{open: func() (net.PacketConn, error) {
				return net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.IPv6Loopback(), 0)))
			}}
		}
		return lines
	}
	w := sim.New(1, time.Now())
	for i := range lines {
		addr := netip.MustParseAddr(fmt.Sprintf("2001:db8:%d::1", i))
		host, err := w.Host(fmt.Sprint("host", i), link.Config{Delay: 5 * time.Millisecond}, addr)
		must(t, err)
		lines[i] = &line{open: func() (net.PacketConn, error) { return host.ListenPacket(netip.AddrPortFrom(addr, 0)) }}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { w.Run(ctx) })
	t.Cleanup(func() { cancel(); run.Wait() })
	return lines
}

func (*line) Kind() string { return invite.IPv6 }

func (l *line) ListenPacket(context.Context) (net.PacketConn, error) {
	pc, err := l.open()
	if err != nil {
		return nil, err
	}
	return &cuttable{PacketConn: pc, net: l}, nil
}

// endpoint opens a socket for a User.
func (l *line) endpoint(t testing.TB) Endpoint {
	t.Helper()
	pc, err := l.ListenPacket(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	return Endpoint{invite.IPv6, pc.LocalAddr().(*net.UDPAddr).AddrPort(), pc}
}

func (l *line) vanish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
}

func (l *line) isCut() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut
}

type cuttable struct {
	net.PacketConn
	net *line
}

func (c *cuttable) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.PacketConn.ReadFrom(b)
		if err != nil || !c.net.isCut() {
			return n, from, err
		}
	}
}

func (c *cuttable) WriteTo(b []byte, to net.Addr) (int, error) {
	if c.net.isCut() {
		return len(b), nil
	}
	c.net.sent.Add(1)
	c.net.bytes.Add(int64(len(b)) + 48)
	delay, dropped := c.net.queue(len(b) + 48)
	if dropped {
		return len(b), nil
	}
	if delay > 0 {
		b = append([]byte(nil), b...)
		time.AfterFunc(delay, func() { c.PacketConn.WriteTo(b, to) })
		return len(b), nil
	}
	return c.PacketConn.WriteTo(b, to)
}

// queue returns how long a datagram of n bytes is on its way, or that the
// queue in front of the line is full.
func (l *line) queue(n int) (delay time.Duration, dropped bool) {
	if l.rate == 0 {
		return l.delay, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.free.Before(now) {
		l.free = now
	}
	if l.free.Sub(now) > time.Second/2 {
		return 0, true
	}
	l.free = l.free.Add(time.Duration(n) * 8 * time.Second / time.Duration(l.rate))
	return l.delay + l.free.Sub(now), false
}

// recorder is an Injector that remembers.
type recorder struct {
	mu       sync.Mutex
	events   []rfb.Input
	released int
	paint    *screen.Memory // changes with every event, if set
}

func (r *recorder) Inject(in rfb.Input) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, in)
	if r.paint != nil {
		spot := image.Rect(0, 0, 8, 8)
		r.paint.Paint(spot, func(f *screen.Frame) { f.Fill(spot, uint32(len(r.events))) })
	}
	return nil
}

func (r *recorder) ReleaseAll() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.released++
	return nil
}

func (r *recorder) seen() ([]rfb.Input, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]rfb.Input(nil), r.events...), r.released
}

// keyboard is an EscWatcher whose key the test presses.
type keyboard struct{ esc chan struct{} }

func newKeyboard() *keyboard { return &keyboard{make(chan struct{})} }

func (k *keyboard) Watch(ctx context.Context, pressed func()) error {
	for {
		select {
		case <-k.esc:
			pressed()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// virtual runs a test in a bubble: its time passes only when both sides have
// nothing left to do, however slow the machine is.
func virtual(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, f)
}

// patience is how long a test waits for what must come: longer than anybody
// may take to answer a question.
const patience = 5 * time.Minute

// home is everything of one test: two sides and a network.
type home struct {
	t       testing.TB
	dir     string
	screen  *screen.Memory
	inj     *recorder
	esc     *keyboard
	userNet *line
	helpNet *line
	evesNet *line // of a third person

	inv       chan *invite.Invitation // what the User made
	user      *User
	helper    *Helper
	userErr   chan error
	helperErr chan error
	stopUser  context.CancelFunc
	stopHelp  context.CancelFunc
}

func newHome(t testing.TB, change ...func(*UserConfig)) *home {
	t.Helper()
	mem, err := screen.NewMemory(image.Pt(320, 200))
	if err != nil {
		t.Fatal(err)
	}
	lines := newLines(t)
	h := &home{
		t: t, dir: t.TempDir(), screen: mem, inj: &recorder{}, esc: newKeyboard(), userNet: lines[0], helpNet: lines[1], evesNet: lines[2],
		userErr: make(chan error, 1), inv: make(chan *invite.Invitation, 1), helperErr: make(chan error, 1),
	}
	conf := UserConfig{
		Name: "Alice", File: filepath.Join(h.dir, invite.FileName), LogDir: filepath.Join(h.dir, "user"),
		Endpoints: []Endpoint{h.userNet.endpoint(t)}, Screen: mem, Injector: h.inj, Esc: h.esc, Lossless: true,
		seal: func(*invite.Invitation, string) ([]byte, error) { return sealed() },
	}
	for _, f := range change {
		f(&conf)
	}
	if h.user, err = NewUser(conf); err != nil {
		t.Fatal(err)
	}
	h.user.made = func(inv *invite.Invitation) { h.inv <- inv }
	ctx, cancel := context.WithCancel(context.Background())
	h.stopUser = cancel
	go func() { h.userErr <- h.user.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		mem.Close()
		h.result("User", h.userErr)
		if h.helper != nil {
			h.stopHelp()
			h.result("Helper", h.helperErr)
		}
	})
	return h
}

// sealed is some invitation's file, derived once.
var sealed = sync.OnceValues(func() ([]byte, error) {
	inv, err := invite.New("Alice", 0, time.Now())
	if err != nil {
		return nil, err
	}
	inv.CertHash[0] = 1
	inv.Candidates = []invite.Candidate{{Kind: "ipv6", Addr: netip.MustParseAddrPort("[::1]:50000")}}
	return inv.Seal(invite.NewPassword())
})

// open dials as one who has opened the invitation; opening it for real costs
// a key derivation, and is done in TestWholeSession.
func (h *home) open() {
	h.t.Helper()
	inv, password := h.opened()
	h.dial(inv, password)
}

// opened returns the invitation and its password, once they are there.
func (h *home) opened() (*invite.Invitation, string) {
	h.t.Helper()
	v := h.waitUser("an invitation", func(v face.View) bool { return v.Invitation != nil })
	inv := <-h.inv
	h.inv <- inv
	return inv, v.Invitation.Password
}

// unsealed is opened, from the file.
func (h *home) unsealed() (*invite.Invitation, string) {
	h.t.Helper()
	v := h.waitUser("an invitation", func(v face.View) bool { return v.Invitation != nil })
	b, err := os.ReadFile(v.Invitation.File)
	must(h.t, err)
	f, err := invite.Parse(b)
	must(h.t, err)
	inv, err := f.Open(v.Invitation.Password)
	must(h.t, err)
	return inv, v.Invitation.Password
}

func (h *home) dial(inv *invite.Invitation, password string) {
	h.t.Helper()
	var err error
	h.helper, err = NewHelper(HelperConfig{
		Name: "Bob", Invitation: inv, Password: password, Networks: []Network{h.helpNet},
		LogDir: filepath.Join(h.dir, "helper"),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.stopHelp = cancel
	go func() { h.helperErr <- h.helper.Run(ctx) }()
}

// result waits for the end of Run; it may be asked again.
func (h *home) result(who string, c chan error) error {
	h.t.Helper()
	select {
	case err := <-c:
		c <- err
		return err
	case <-time.After(patience):
		h.t.Fatalf("%s: Run does not return", who)
		return nil
	}
}

func (h *home) ends() (user, helper error) {
	h.t.Helper()
	return h.result("User", h.userErr), h.result("Helper", h.helperErr)
}

func (h *home) waitUser(what string, ok func(face.View) bool) face.View {
	h.t.Helper()
	return h.waitView("User: "+what, h.user, ok)
}

func (h *home) waitHelper(what string, ok func(face.View) bool) face.View {
	h.t.Helper()
	return h.waitView("Helper: "+what, h.helper, ok)
}

func (h *home) waitView(what string, s face.Session, ok func(face.View) bool) face.View {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	v := s.View()
	for !ok(v) {
		var err error
		if v, err = s.Wait(ctx, v.Version); err != nil {
			helper := face.View{}
			if h.helper != nil {
				helper = h.helper.View()
			}
			h.t.Fatalf("waiting for %s\nthe User sees %+v\nthe Helper sees %+v", what, h.user.View(), helper)
		}
	}
	return v
}

func in(state string) func(face.View) bool {
	return func(v face.View) bool { return v.State == state }
}

func said(text string) func(face.View) bool {
	return func(v face.View) bool {
		for _, e := range v.Log {
			if e.Event == sessionlog.ChatMessage && e.Text == text {
				return true
			}
		}
		return false
	}
}

// answer answers the open question of this kind, once a Yes counts.
func (h *home) answer(kind string, yes bool) {
	h.t.Helper()
	v := h.waitUser("a question", func(v face.View) bool { return v.Question != nil && v.Question.Kind == kind })
	time.Sleep(time.Until(v.Question.Enabled))
	if err := h.user.Answer(v.Question.ID, yes); err != nil {
		h.t.Fatal(err)
	}
}

func (h *home) share() {
	h.t.Helper()
	h.open()
	h.answer(face.AskView, true)
	h.waitHelper("the screen", in(face.Screen))
}

func (h *home) control() {
	h.t.Helper()
	must(h.t, h.helper.RequestControl())
	h.answer(face.AskControl, true)
	h.waitHelper("control", in(face.Control))
}

// viewer opens a viewer of the Helper, past its handshake.
func (h *home) viewer() (net.Conn, *rfb.Viewer) {
	h.t.Helper()
	rw, err := h.helper.Viewer(context.Background())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { rw.Close() })
	if err := rfb.Handshake(rw); err != nil {
		h.t.Fatal(err)
	}
	v, err := rfb.NewViewer(rw, rfb.ViewerConfig{Continuous: true})
	if err != nil {
		h.t.Fatal(err)
	}
	return rw.(net.Conn), v
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func logged(t testing.TB, name string) []string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	recs, err := sessionlog.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	var events []string
	for _, r := range recs {
		events = append(events, r.Event)
	}
	return events
}
