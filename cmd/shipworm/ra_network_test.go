package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"shipworm/ra/channel"
	"shipworm/teredo"
)

// A client that is gone says why, not only that it is.
func TestQualifiedTellsCause(t *testing.T) {
	cause := errors.New("the device is broken")
	c, err := teredo.NewClient(teredo.ClientConfig{
		Server: "203.0.113.1",
		Listen: func(context.Context, netip.AddrPort) (net.PacketConn, error) { return brokenSocket{cause}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	n := runTeredo(c, systemConfig, slog.New(slog.DiscardHandler))
	defer n.close()
	if err := n.qualified(t.Context()); !errors.Is(err, cause) {
		t.Errorf("got %v, want %v", err, cause)
	}
}

// brokenSocket neither sends nor receives.
type brokenSocket struct{ err error }

func (s brokenSocket) ReadFrom([]byte) (int, net.Addr, error) { return 0, nil, s.err }
func (s brokenSocket) WriteTo([]byte, net.Addr) (int, error)  { return 0, s.err }
func (s brokenSocket) Close() error                           { return nil }
func (s brokenSocket) LocalAddr() net.Addr                    { return &net.UDPAddr{IP: net.IPv4zero, Port: 1} }
func (s brokenSocket) SetDeadline(time.Time) error            { return nil }
func (s brokenSocket) SetReadDeadline(time.Time) error        { return nil }
func (s brokenSocket) SetWriteDeadline(time.Time) error       { return nil }

// C-06: that nobody answers is a negative result, whatever else went wrong at
// other addresses; an answer that is no use is a failure.
func TestSessionErrorCode(t *testing.T) {
	silent := fmt.Errorf("%w from [2001:db8::1]:1", channel.ErrUnreachable)
	tests := []struct {
		name string
		err  error
		want int
	}{
		{"no answer", silent, exitNegative},
		{"no answer anywhere", errors.Join(silent, silent), exitNegative},
		{"busy elsewhere", errors.Join(silent, channel.ErrBusy), exitFailure},
		{"refused elsewhere", errors.Join(silent, channel.ErrPassword), exitFailure},
		{"lost", channel.ErrLost, exitFailure},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := exitFailure
			if e := new(exitError); errors.As(sessionError(tt.err), &e) {
				got = e.code
			}
			if got != tt.want {
				t.Errorf("exit code %d, want %d", got, tt.want)
			}
		})
	}
}
