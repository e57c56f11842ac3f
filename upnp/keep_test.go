package upnp

import (
	"context"
	"net/netip"
	"testing"
	"time"
)

// U-07, U-09: each protocol maps the port that was asked for, to this host and
// nobody else, and the mapping is gone when Keep returns.
func TestKeep(t *testing.T) {
	tests := []struct {
		profile string
		via     Via
		within  time.Duration
	}{
		{"pcp-only", ViaPCP, 0},
		{"natpmp-only", ViaNATPMP, 0},
		{"upnp-only", ViaUPnP, 50 * time.Millisecond},
	}
	for _, tt := range tests {
		for _, p := range []Protocol{UDP, TCP} {
			t.Run(tt.profile+"/"+p.String(), func(t *testing.T) {
				bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
					r := start(t, ctx, l, tt.profile)
					m := newTestMapper(t, l, nil)
					q := udpRequest()
					q.Protocol = p
					k := keep(ctx, m, q)
					got, took := k.next(t, 5*time.Second)
					want := Mapping{
						Protocol: p, Internal: netip.AddrPortFrom(hostAddr, 3545), External: netip.AddrPortFrom(wanAddr, 3545),
						Via: tt.via, Gateway: gatewayAddr, Lifetime: time.Hour,
					}
					if got != want {
						t.Errorf("got  %+v\nwant %+v", got, want)
					}
					if took > tt.within {
						t.Errorf("took %v, want %v", took, tt.within)
					}
					if all := r.Mappings(time.Now()); len(all) != 1 || all[0].Internal != want.Internal {
						t.Errorf("table %v", all)
					}
					if err := k.end(); err != nil {
						t.Error(err)
					}
					if all := r.Mappings(time.Now()); len(all) != 0 {
						t.Errorf("left %v", all)
					}
				})
			})
		}
	}
}
