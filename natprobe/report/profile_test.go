package report_test

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	. "shipworm/natprobe/report"
	"shipworm/testnet/nat"
)

// TestProfile: the laboratory reads what a report writes, and finds in it what
// the report said.
func TestProfile(t *testing.T) {
	const eim, adm, apdm = EndpointIndependent, AddressDependent, AddressAndPortDependent
	bound := func(alive, dead int) Bound {
		return Bound{Duration(alive) * Duration(time.Second), Duration(dead) * Duration(time.Second)}
	}
	for _, c := range []struct {
		name string
		r    Report
		want nat.Config
	}{
		{"full cone", Report{Access: NAT, Mapping: eim, Filtering: eim, PortPreserving: Yes, Hairpin: Hairpin{Yes, ExternalSource}},
			nat.Config{Hairpin: nat.HairpinExternalSource, Fragments: nat.FragmentsAnyOrder}},
		{"restricted, measured", Report{Access: NAT, Mapping: eim, Filtering: adm, PortPreserving: No, Allocation: Allocation{Kind: Sequential, Delta: 2},
			Parity: Yes, Hairpin: Hairpin{Yes, InternalSource}, Lifetimes: Lifetimes{Single: bound(20, 30), InboundRefresh: Yes}, ALG: Yes, Fragments: Fragments{Yes, No}, Pooling: Arbitrary},
			nat.Config{Filtering: nat.AddressDependent, Allocation: nat.Sequential, Step: 2, Parity: true, Hairpin: nat.HairpinInternalSource,
				Lifetime: 25 * time.Second, Refresh: nat.RefreshBoth, ALG: true, ArbitraryPooling: true}},
		{"Linux", Report{Access: NAT, Mapping: eim, Filtering: apdm, PortPreserving: Yes, EarlyInbound: Yes, Contiguity: Yes,
			Lifetimes: Lifetimes{Single: bound(29, 31), Stream: bound(119, 121)}},
			nat.Config{Mapping: nat.AddressAndPortDependent, Filtering: nat.AddressAndPortDependent, Overlap: true, ReuseSource: true, EarlyInbound: true, Reject: true,
				Lifetime: 30 * time.Second, LifetimeAnswered: 2 * time.Minute, AnsweredAge: 2 * time.Second, Fragments: nat.FragmentsAnyOrder}},
		{"symmetric", Report{Access: NAT, Mapping: apdm, Filtering: apdm, PortPreserving: No, Allocation: Allocation{Kind: Random}, Contiguity: Yes},
			nat.Config{Mapping: nat.AddressAndPortDependent, Filtering: nat.AddressAndPortDependent, Allocation: nat.Random, Fragments: nat.FragmentsAnyOrder}},
		{"symmetric by address", Report{Access: NAT, Mapping: adm, Filtering: apdm, PortPreserving: No},
			nat.Config{Mapping: nat.AddressDependent, Filtering: nat.AddressAndPortDependent, Allocation: nat.Random, Fragments: nat.FragmentsAnyOrder}},
		{"overloading", Report{Access: NAT, Mapping: eim, Filtering: apdm, PortPreserving: Yes, Collision: Overloaded},
			nat.Config{Filtering: nat.AddressAndPortDependent, Allocation: nat.Overloading, Fragments: nat.FragmentsAnyOrder}},
		{"open", Report{Access: Open, Filtering: eim}, nat.Config{NoTranslation: true, Fragments: nat.FragmentsAnyOrder}},
		{"firewall", Report{Access: Firewall, Mapping: eim, Filtering: apdm, Lifetimes: Lifetimes{Single: bound(20, 40)}},
			nat.Config{NoTranslation: true, Filtering: nat.AddressAndPortDependent, Lifetime: 30 * time.Second, Fragments: nat.FragmentsAnyOrder}},
		{"blocked", Report{Access: Blocked}, nat.Config{NoTranslation: true, Block: 17, Fragments: nat.FragmentsAnyOrder}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := c.r.Profile()
			if err != nil {
				t.Fatal(err)
			}
			got, err := nat.ReadProfile(bytes.NewReader(b))
			if err != nil {
				t.Fatalf("%v in %s", err, b)
			}
			if d := cmp.Diff(c.want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); d != "" {
				t.Error(d)
			}
			if !got.NoTranslation {
				got.External = []netip.Addr{netip.MustParseAddr("203.0.113.7")}
			}
			if err := got.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestProfileIncomplete(t *testing.T) {
	for name, r := range map[string]Report{
		"nothing":        {},
		"no filtering":   {Access: NAT, Mapping: EndpointIndependent},
		"no mapping":     {Access: NAT, Filtering: EndpointIndependent},
		"port-dependent": {Access: NAT, Mapping: PortDependent, Filtering: EndpointIndependent},
		"firewall":       {Access: Firewall},
	} {
		if b, err := r.Profile(); !errors.Is(err, ErrIncomplete) {
			t.Errorf("%s: %s, %v", name, b, err)
		}
	}
}
