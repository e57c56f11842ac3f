package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"shipworm/teredo"
	"shipworm/teredo/engine"
	"shipworm/teredo/packet"
)

// The lines of teredo client, for people and for programs.
func TestStateWriter(t *testing.T) {
	mapped := netip.MustParseAddrPort("198.51.100.10:52865")
	server := netip.MustParseAddr("203.0.113.1")
	a := addressFor(server, mapped)
	st := teredo.State{
		ClientState: engine.ClientState{Mapped: mapped, QualifiedAfter: 53 * time.Millisecond},
		ServerName:  "203.0.113.1", Local: netip.MustParseAddrPort("192.168.0.218:52865"),
	}
	events := []teredo.Event{
		{Kind: engine.Qualified, Address: a, RTT: 50 * time.Millisecond},
		{Kind: engine.ServerUnreachable, RetryAt: time.Now().Add(15*time.Second + 300*time.Millisecond)},
		{Kind: engine.AddressLost, Address: a},
		{Kind: engine.Qualified, Address: a, RTT: 60 * time.Millisecond},
	}
	var text, lines bytes.Buffer
	for _, w := range []*stateWriter{newStateWriter(&text, false), newStateWriter(&lines, true)} {
		for _, e := range events {
			if w.json != nil && !e.RetryAt.IsZero() {
				e.RetryAt = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
			}
			if err := w.write(e, st); err != nil {
				t.Fatal(err)
			}
		}
	}
	golden(t, "teredo_client.golden", text.Bytes())
	golden(t, "teredo_client.json.golden", lines.Bytes())
}

func TestSpread(t *testing.T) {
	low, mean, high, dev := spread([]time.Duration{10 * time.Millisecond, 20 * time.Millisecond, 30 * time.Millisecond})
	if low != 10 || mean != 20 || high != 30 || dev < 8.164 || dev > 8.166 {
		t.Errorf("%v %v %v %v, want 10 20 30 8.165", low, mean, high, dev)
	}
}

// The end of teredo ping, with and without answers.
func TestPingReport(t *testing.T) {
	a := addressFor(netip.MustParseAddr("203.0.113.1"), netip.MustParseAddrPort("198.51.100.10:52865"))
	var b bytes.Buffer
	p := pinger{to: a.Addr(), sent: 3, out: &b, json: true, rtts: []time.Duration{11 * time.Millisecond, 4500 * time.Microsecond}}
	if err := p.report(a); err != nil {
		t.Fatal(err)
	}
	p.rtts = nil
	if err := p.report(a); err != nil {
		t.Fatal(err)
	}
	golden(t, "teredo_ping.json.golden", b.Bytes())
}

// brokenDevice fails at once.
type brokenDevice struct{ teredo.Device }

func (brokenDevice) ReadBatch([]packet.Packet) (int, error) { return 0, io.ErrNoProgress }
func (brokenDevice) Close() error                           { return nil }

// A client that ends by itself says why, not just that it is gone.
func TestClientEndsEarly(t *testing.T) {
	cfg := teredo.ClientConfig{
		Server: "203.0.113.1", Device: brokenDevice{},
		Listen: func(ctx context.Context, _ netip.AddrPort) (net.PacketConn, error) {
			var lc net.ListenConfig
			return lc.ListenPacket(ctx, "udp4", "127.0.0.1:0")
		},
	}
	err := withTeredo(t.Context(), cfg, func(c *teredo.Client) error {
		_, err := c.WaitQualified(t.Context())
		return err
	})
	if !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("error %v, want the device's", err)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// Output that could not be written is a failure, answers or not.
func TestPingOutputError(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		p := pinger{out: fullDisk{}, json: asJSON, sent: 1, rtts: []time.Duration{time.Second}}
		if err := p.report(teredo.Address{}); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("json %v: %v", asJSON, err)
		}
	}
}
