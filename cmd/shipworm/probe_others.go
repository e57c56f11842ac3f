package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"shipworm/natprobe/report"
	"shipworm/teredo"
	"shipworm/teredo/wire"
	"shipworm/upnp"
)

// What others than STUN servers know of the NAT: its router and a Teredo server.

// wanPatience bounds what a probe waits for the router: those that answer at all
// do so within a fifth of it.
const wanPatience = 500 * time.Millisecond

// routerAddress asks the router for its external address, and maps nothing. It
// is the zero Addr if the router does not tell in time.
func routerAddress(m *upnp.Mapper) func(context.Context, netip.Addr) netip.Addr {
	if m == nil {
		return nil
	}
	return func(ctx context.Context, local netip.Addr) netip.Addr {
		ctx, cancel := context.WithTimeout(ctx, wanPatience)
		defer cancel()
		ip, _ := m.External(ctx, local)
		return ip
	}
}

// teredoPatience is what a probe waits for a Teredo server at most: it is asked
// four times in that (TR-01).
const teredoPatience = 5 * time.Second

// teredoView asks a Teredo server what it sees of the NAT.
func teredoView(f teredoFlags) func(context.Context) (*report.Report, error) {
	return func(ctx context.Context) (*report.Report, error) {
		cfg, err := f.config()
		if err != nil {
			return nil, err
		}
		var r *report.Report
		return r, withTeredo(ctx, cfg, func(c *teredo.Client) error {
			within, cancel := context.WithTimeout(ctx, teredoPatience)
			defer cancel()
			if _, err := c.WaitQualified(within); err != nil && within.Err() != nil && ctx.Err() == nil {
				return fmt.Errorf("no answer from its server, or none to the server's name, within %v", teredoPatience)
			} else if err != nil {
				return err
			}
			if err := waitNAT(ctx, c); err != nil {
				return err
			}
			r = newTeredoReport(c.State())
			return nil
		})
	}
}

// newTeredoReport is the state of a client in the words of a probe. What a
// Teredo server cannot tell stays unknown: what the filter lets in.
func newTeredoReport(st teredo.State) *report.Report {
	r := &report.Report{
		Kind: report.Teredo, Local: st.Local, Mapped: st.Mapped, Access: report.NAT, PortPreserving: report.Is(st.Local.Port() == st.Mapped.Port()),
		Servers: []report.Server{{
			Name: st.ServerName, Addr: netip.AddrPortFrom(st.Server, 3544), Kind: report.Teredo, Answered: true, RTT: report.Duration(st.RTT),
		}},
	}
	switch {
	case st.Local == st.Mapped:
		r.Access, r.Mapping = report.AccessUnknown, report.EndpointIndependent
	case st.NAT == wire.NATIndependent:
		r.Mapping = report.EndpointIndependent
	case st.NAT > wire.NATIndependent:
		r.Mapping = report.Dependent
	}
	r.Note("mapping", "as the Teredo server sees it: no STUN server answered")
	return r
}
