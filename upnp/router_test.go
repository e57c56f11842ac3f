package upnp

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"shipworm/testnet/igd"
)

// router is one of testnet/igd's on a LAN in memory.
type router struct {
	*igd.Router
	server *igd.Server
	nat    *igd.Memory
}

var wanAddr = netip.MustParseAddr("203.0.113.7")

// start runs a router until the test's bubble ends it.
func start(t *testing.T, ctx context.Context, l *lan, profile string) *router {
	t.Helper()
	return startAt(t, ctx, l, profile, gatewayAddr)
}

func startAt(t *testing.T, ctx context.Context, l *lan, profile string, addr netip.Addr) *router {
	t.Helper()
	p, ok := igd.Lookup(profile)
	if !ok {
		t.Fatalf("no router %q", profile)
	}
	mem := &igd.Memory{Addrs: []netip.Addr{wanAddr}}
	r, err := igd.New(time.Now(), igd.Config{
		Profile: p, Gateway: mem, Address: addr, SearchGroup: igd.SearchGroup, ControlGroup: igd.ControlGroup,
	})
	if err != nil {
		t.Fatal(err)
	}
	search := l.listenPacket(netip.AddrPortFrom(addr, igd.SearchPort))
	l.mu.Lock()
	l.groups[igd.SearchGroup] = append(l.groups[igd.SearchGroup], search)
	l.mu.Unlock()
	port := uint16(5000)
	sockets := igd.Sockets{
		Search: search, Stranger: l.listenPacket(netip.AddrPortFrom(addr, 0)),
		Listen: func() (net.Listener, error) {
			port++
			return l.listenTCP(netip.AddrPortFrom(addr, port)), nil
		},
	}
	if p.NATPMP || p.PCP {
		sockets.Control = l.listenPacket(netip.AddrPortFrom(addr, igd.ControlPort))
	}
	s := igd.NewServer(r, sockets)
	go s.Run(ctx)
	synctest.Wait()
	return &router{r, s, mem}
}

// bubble runs a test in virtual time with a LAN; what it started ends with it.
func bubble(t *testing.T, f func(t *testing.T, ctx context.Context, l *lan)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		f(t, ctx, newLAN())
	})
}

// udpRequest is the port that most tests map.
func udpRequest() Request {
	return Request{Protocol: UDP, Internal: netip.MustParseAddrPort("0.0.0.0:3545")}
}

// keepResult is a Keep in a goroutine, with what it told.
type keepResult struct {
	told chan Mapping
	end  func() error
}

func keep(ctx context.Context, m *Mapper, r Request) *keepResult {
	ctx, cancel := context.WithCancel(ctx)
	k := &keepResult{told: make(chan Mapping, 100)}
	done := make(chan error, 1)
	go func() { done <- m.Keep(ctx, r, func(m Mapping) { k.told <- m }) }()
	k.end = func() error { cancel(); return <-done }
	return k
}

// next returns what is told within d, and how long that took.
func (k *keepResult) next(t *testing.T, d time.Duration) (Mapping, time.Duration) {
	t.Helper()
	start := time.Now()
	select {
	case m := <-k.told:
		return m, time.Since(start)
	case <-time.After(d):
		t.Fatalf("nothing told in %v", d)
		return Mapping{}, 0
	}
}
