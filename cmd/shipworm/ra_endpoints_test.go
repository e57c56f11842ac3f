package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"shipworm/ra"
	"shipworm/ra/invite"
)

// after is a source that opens, or fails with err, after a time.
func after(kind string, d time.Duration, err error) raSource {
	return raSource{kind, func(ctx context.Context) (ra.Endpoint, error) {
		select {
		case <-time.After(d):
			return ra.Endpoint{Kind: kind, Conn: closedConn{}}, err
		case <-ctx.Done():
			return ra.Endpoint{}, context.Cause(ctx)
		}
	}}
}

type closedConn struct{ net.PacketConn }

func (closedConn) Close() error { return nil }

// An invitation waits for what is slow only as long as nobody could use it
// otherwise, and a little longer; what is not in it is said.
func TestInvitationWaits(t *testing.T) {
	silent := errors.New("no answer over UDP")
	const series = 15500 * time.Millisecond // of a Teredo client
	for name, tt := range map[string]struct {
		sources []raSource
		took    time.Duration
		kinds   string
		said    string
	}{
		"all at once":                   {[]raSource{after(invite.IPv6, 0, nil), after(invite.Teredo, 2*time.Second, nil)}, 2 * time.Second, "ipv6 teredo", ""},
		"a silent server":               {[]raSource{after(invite.IPv6, 0, nil), after(invite.Teredo, series, silent)}, restPatience, "ipv6", "without teredo: no answer yet after 4s\n"},
		"after the router":              {[]raSource{after(invite.Mapped, 3*time.Second, nil), after(invite.Teredo, series, silent)}, 3*time.Second + restPatience, "mapped", "without teredo: no answer yet after 4s\n"},
		"a LAN is no way for strangers": {[]raSource{after(invite.Teredo, series-1, nil), after(invite.LAN, 0, nil)}, series - 1, "teredo lan", ""},
		"nothing else":                  {[]raSource{after(invite.Mapped, 3*time.Second, errNoMapping), after(invite.Teredo, series, nil)}, series, "teredo", "without mapped: the router opens no port\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var said bytes.Buffer
				e := newRAEndpoints(nil, &said)
				defer e.close()
				began := time.Now()
				if err := e.open(t.Context(), tt.sources); err != nil {
					t.Fatal(err)
				}
				var kinds []string
				for _, p := range e.list {
					kinds = append(kinds, p.Kind)
				}
				if d := time.Since(began); d != tt.took || strings.Join(kinds, " ") != tt.kinds || said.String() != tt.said {
					t.Errorf("after %v: %v, it said %q; want %v: %s, %q", d, kinds, &said, tt.took, tt.kinds, tt.said)
				}
			})
		})
	}
}

// Who does not want to wait need not.
func TestInvitationInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newRAEndpoints(nil, &bytes.Buffer{})
		defer e.close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := e.open(ctx, []raSource{after(invite.IPv6, 0, nil), after(invite.Teredo, time.Minute, nil)}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}
