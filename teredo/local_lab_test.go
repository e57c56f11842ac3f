//go:build lab && linux

package teredo

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"shipworm/testnet/lab"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

// Two clients in one home, behind a NAT that does not hairpin, find each other
// by their announcements once the server is gone. T-31
func TestLabLocalDiscovery(t *testing.T) {
	t.Parallel()
	for _, local := range []bool{true, false} {
		t.Run(map[bool]string{true: "on", false: "off"}[local], func(t *testing.T) {
			t.Parallel()
			s := newStreet(t)
			server := s.ourServer("--listen", primary.String())
			cfg, _ := nat.Profile("port-restricted")
			cfg.External, cfg.Hairpin = []netip.Addr{netip.MustParseAddr("198.51.100.10")}, nat.HairpinNone
			router, err := s.lab.Router("router", cfg, s.line)
			if err != nil {
				t.Fatal(err)
			}
			args := []string{"--tun", "teredo"}
			if local {
				args = append(args, "--local-discovery")
			}
			var hosts []*lab.Host
			var addrs []string
			for _, ip := range []string{"192.168.1.2", "192.168.1.3"} {
				h, err := router.Host("home"+ip[10:], link.Config{}, netip.MustParseAddr(ip))
				if err != nil {
					t.Fatal(err)
				}
				_, q := s.client(h, args...)
				hosts, addrs = append(hosts, h), append(addrs, q.Address.String())
			}
			time.Sleep(500 * time.Millisecond) // the announcements are on their way
			_ = server.stop(syscall.SIGKILL)
			patience := map[bool]int{true: 60, false: 5}[local]
			out, err := s.shell(hosts[1], fmt.Sprintf("ping -6 -n -c 4 -i 0.5 -w %d %s", patience, addrs[0]))
			if heard := err == nil; heard != local {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
