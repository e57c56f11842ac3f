package main

import (
	"context"
	"net/netip"
	"testing"

	"shipworm/natprobe/report"
	"shipworm/teredo"
	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
)

// What a Teredo client knows of the NAT, in the words of a probe.
func TestTeredoReport(t *testing.T) {
	local, mapped := netip.MustParseAddrPort("192.168.1.2:50000"), netip.MustParseAddrPort("198.51.100.10:40000")
	for _, tt := range []struct {
		name    string
		nat     wire.NAT
		mapped  netip.AddrPort
		access  report.Access
		mapping report.Behavior
	}{
		{"no NAT", wire.NATIndependent, local, report.AccessUnknown, report.EndpointIndependent},
		{"independent", wire.NATIndependent, mapped, report.NAT, report.EndpointIndependent},
		{"random", wire.NATRandom, mapped, report.NAT, report.Dependent},
		{"preserving", wire.NATPreserving, mapped, report.NAT, report.Dependent},
		{"one address of the server's", wire.NATUnknown, mapped, report.NAT, report.BehaviorUnknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newTeredoReport(teredo.State{Local: local, ClientState: engine.ClientState{
				NAT: tt.nat, Mapped: tt.mapped, Server: netip.MustParseAddr("203.0.113.1"),
			}})
			if r.Access != tt.access || r.Mapping != tt.mapping || r.Filtering != report.BehaviorUnknown || r.Kind != report.Teredo {
				t.Errorf("%v, %v, %v, %v", r.Access, r.Mapping, r.Filtering, r.Kind)
			}
		})
	}
}

// U-13: where the router must not be asked, a probe has nobody to ask, and a
// Teredo client neither.
func TestNobodyIsAsked(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	for _, tt := range []struct {
		flags mapFlags
		asks  bool
	}{
		{mapFlags{network: "private"}, true},
		{mapFlags{network: "domain"}, true},
		{mapFlags{network: "public"}, false},
		{mapFlags{network: "private", off: true}, false},
	} {
		m, err := tt.flags.mapper(nil, mappingDir)
		if err != nil {
			t.Fatal(err)
		}
		if got := routerAddress(m) != nil; got != tt.asks {
			t.Errorf("%+v: the router is asked for its address: %v", tt.flags, got)
		}
		if got := teredoMap(m, raLease) != nil; got != tt.asks {
			t.Errorf("%+v: the router is asked for a port: %v", tt.flags, got)
		}
	}
}

// A Teredo client that was not started has no view.
func TestTeredoViewNeedsServer(t *testing.T) {
	t.Setenv(teredoServerEnv, "")
	if r, err := teredoView(teredoFlags{})(context.Background()); r != nil || err == nil {
		t.Errorf("%v, %v", r, err)
	}
}
