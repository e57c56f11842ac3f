//go:build lab && linux

package upnp

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"shipworm/internal/leak"
	"shipworm/testnet/lab"
	"shipworm/upnp/natpmp"
)

// keeperMode makes a nested run of this binary a program that keeps a port
// mapped: "any", "NAT-PMP" to hide PCP from it.
const keeperMode = "SHIPWORM_UPNP_KEEPER"

// L-06: the tests run inside the namespaces, and leave no goroutine.
func TestMain(m *testing.M) {
	if mode := os.Getenv(keeperMode); mode != "" {
		if err := keeperProgram(mode); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	inside, code, err := lab.Enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if !inside || err != nil {
		os.Exit(code)
	}
	goleak.VerifyTestMain(leak.Patient(m))
}

// report is a line of the keeper program.
type report struct {
	Mapping Mapping `json:",omitzero"`
	Millis  float64 // since Keep was called
	Text    string  // of a datagram that arrived
}

// keeperProgram keeps the port of a socket mapped until SIGTERM, with the
// journal in the working directory, and reports mappings and datagrams.
func keeperProgram(mode string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	at := netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	if mode == "IPv6" {
		at = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
	}
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return err
	}
	defer c.Close()
	out := json.NewEncoder(os.Stdout)
	lines := make(chan report, 100)
	go func() {
		for r := range lines {
			_ = out.Encode(r)
		}
	}()
	go func() {
		buf := make([]byte, 2048)
		for {
			n, _, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			lines <- report{Text: string(buf[:n])}
		}
	}()
	cfg := Config{Journal: "journal"}
	if mode == "NAT-PMP" {
		cfg.Host = withoutPCP{System()}
	}
	m, err := New(cfg)
	if err != nil {
		return err
	}
	begin := time.Now()
	port := c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	return m.Keep(ctx, Request{Protocol: UDP, Internal: netip.AddrPortFrom(at.Addr(), port)}, func(m Mapping) {
		lines <- report{Mapping: m, Millis: float64(time.Since(begin).Microseconds()) / 1000}
	})
}

// withoutPCP answers PCP as a gateway does that knows NAT-PMP only.
type withoutPCP struct{ Host }

func (h withoutPCP) Dial(ctx context.Context, network string, local netip.Addr, remote netip.AddrPort) (net.Conn, error) {
	c, err := h.Host.Dial(ctx, network, local, remote)
	if err == nil && network == "udp" {
		return &oldConn{Conn: c}, nil
	}
	return c, err
}

type oldConn struct {
	net.Conn
	refuse bool
}

func (c *oldConn) Write(b []byte) (int, error) {
	if b[0] == 2 {
		c.refuse = true
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *oldConn) Read(b []byte) (int, error) {
	if c.refuse {
		c.refuse = false
		r := natpmp.Response{Result: natpmp.UnsupportedVersion}
		return copy(b, r.Append(nil)[:8]), nil
	}
	return c.Conn.Read(b)
}
