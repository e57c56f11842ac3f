package install_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"shipworm/testnet/igd"
	"shipworm/testnet/igd/install"
	"shipworm/testnet/invariant"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
	"shipworm/testnet/sim"
)

var (
	outside = netip.MustParseAddr("198.51.100.10")
	inside  = netip.MustParseAddr("192.168.1.2")
	gateway = netip.MustParseAddr("192.168.1.1")
)

// In virtual time a host behind a NAT opens a port, is reached through it until
// the lease ends, and hears that its router was restarted.
func TestSim(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	w := sim.New(1, start)
	invariant.Install(t, w, invariant.Config{})
	cfg, _ := nat.Profile("symmetric")
	cfg.External = []netip.Addr{outside}
	router, err := w.Router("home", cfg, link.Config{Delay: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	alice, err1 := router.Host("alice", link.Config{}, inside)
	server, err2 := w.Host("server", link.Config{}, netip.MustParseAddr("203.0.113.1"))
	if err1 != nil || err2 != nil || router.SetGateway(gateway) != nil {
		t.Fatal(err1, err2)
	}
	var log []string
	note := func(now time.Time, from netip.AddrPort, b []byte) {
		if len(b) > 12 {
			b = b[:12]
		}
		log = append(log, fmt.Sprintf("%v %v %x", now.Sub(start), from, b))
	}
	listener, err := alice.BindUDP(5350, note)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	p, _ := igd.Lookup("miniupnpd")
	d, err := install.Sim(w, router, gateway, "gateway", p)
	if err != nil {
		t.Fatal(err)
	}
	port, err := alice.BindUDP(6000, note)
	if err != nil {
		t.Fatal(err)
	}
	far, err := server.BindUDP(7, note)
	if err != nil {
		t.Fatal(err)
	}
	w.Advance(start.Add(time.Second))
	request := []byte{0, 1, 0, 0, 6000 >> 8, 6000 & 0xff, 16000 >> 8, 16000 & 0xff, 0, 0, 0, 60}
	if err := port.SendTo(netip.AddrPortFrom(gateway, igd.ControlPort), request); err != nil {
		t.Fatal(err)
	}
	w.Advance(start.Add(2 * time.Second))
	open := netip.AddrPortFrom(outside, 16000)
	for _, at := range []time.Duration{60 * time.Second, 62 * time.Second} {
		w.Advance(start.Add(at))
		if err := far.SendTo(open, binary.BigEndian.AppendUint64(nil, uint64(at/time.Second))); err != nil {
			t.Fatal(err)
		}
	}
	w.Advance(start.Add(70 * time.Second))
	d.Reboot()
	w.Advance(start.Add(71 * time.Second))
	want := []string{
		"0s 192.168.1.1:5351 028000000000000000000000", // ANNOUNCE
		"0s 192.168.1.1:5351 0080000000000000c633640a", // external address
		"1s 192.168.1.1:5351 008100000000000117703e80", // mapped
		"1m0.01s 203.0.113.1:7 000000000000003c",
		"1m10s 192.168.1.1:5351 028000000000000000000000",
		"1m10s 192.168.1.1:5351 0080000000000000c633640a",
	}
	if !slices.Equal(log, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(log, "\n"), strings.Join(want, "\n"))
	}
	if f := router.NAT().Forwards(); len(f) != 0 {
		t.Errorf("forwards left: %v", f)
	}
}
