//go:build lab && linux

package lab_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"shipworm/testnet/lab"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

// TestMapping has an unmodified curl, from one local port, ask two servers
// where it comes from, behind every profile.
func TestMapping(t *testing.T) {
	const local = 40000
	for _, profile := range nat.Profiles() {
		t.Run(profile, func(t *testing.T) {
			_, home, server := newLab(t, profile, link.Config{})
			if err := server.Reflect(); err != nil {
				t.Fatal(err)
			}
			seen := func(server netip.Addr) netip.AddrPort {
				ap, err := netip.ParseAddrPort(curlFrom(t, home, local, fmt.Sprintf("http://%s/", server)))
				if err != nil {
					t.Fatal(err)
				}
				return ap
			}
			first, second := seen(server1), seen(server2)
			t.Logf("mapped to %v and %v", first, second)
			if first.Addr() != outside || second.Addr() != outside {
				t.Errorf("seen as %v and %v, want %v", first.Addr(), second.Addr(), outside)
			}
			cfg, _ := nat.Profile(profile)
			independent := cfg.Mapping == nat.EndpointIndependent
			switch {
			case cfg.NoTranslation, cfg.Allocation == nat.Preserving && (independent || cfg.Overlap):
				if first.Port() != local || second.Port() != local {
					t.Errorf("ports %d and %d, want %d preserved", first.Port(), second.Port(), local)
				}
			case independent:
				if first != second {
					t.Errorf("mapped to %v and %v, want one mapping", first, second)
				}
			default:
				if first == second {
					t.Errorf("mapped to %v for both servers, want two mappings", first)
				}
			}
		})
	}
}

// curlFrom fetches a page from the given local port, once the kernel has let go
// of an earlier connection from there.
func curlFrom(t *testing.T, h *lab.Host, local int, url string) string {
	t.Helper()
	const portTaken = 45       // curl's CURLE_INTERFACE_FAILED
	err := h.Do(func() error { // no TIME_WAIT
		return os.WriteFile("/proc/sys/net/ipv4/tcp_max_tw_buckets", []byte("0"), 0)
	})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		cmd := h.Command(t.Context(), "curl", "-sS", "--max-time", "60", "--local-port", fmt.Sprint(local), url)
		out, err := cmd.CombinedOutput()
		if err == nil {
			return strings.TrimSpace(string(out))
		}
		if cmd.ProcessState.ExitCode() != portTaken || time.Now().After(deadline) {
			t.Fatalf("curl: %v\n%s", err, out)
		}
	}
}

// TestFiltering sends to a mapping from the endpoint it was made for, from
// another port and from another address, behind every profile.
func TestFiltering(t *testing.T) {
	for _, profile := range nat.Profiles() {
		t.Run(profile, func(t *testing.T) {
			_, home, server := newLab(t, profile, link.Config{})
			pc := listen(t, home, netip.AddrPortFrom(home.Addr(), 4000))
			known := listen(t, server, netip.AddrPortFrom(server1, 5000))
			otherPort := listen(t, server, netip.AddrPortFrom(server1, 5001))
			otherAddr := listen(t, server, netip.AddrPortFrom(server2, 5000))

			send(t, pc, known.LocalAddr(), "open")
			cfg, _ := nat.Profile(profile)
			if cfg.Block == 17 {
				refuse(t, known)
				return
			}
			_, mapped := receive(t, known)
			send(t, otherAddr, mapped, "other address")
			send(t, otherPort, mapped, "other port")
			// A line without delay keeps order: when this one has come, the
			// others have come or will not.
			send(t, known, mapped, "known")

			var want []string
			if cfg.Filtering == nat.EndpointIndependent {
				want = append(want, "other address")
			}
			if cfg.Filtering != nat.AddressAndPortDependent {
				want = append(want, "other port")
			}
			want = append(want, "known")
			var got []string
			for len(got) == 0 || got[len(got)-1] != "known" {
				text, _ := receive(t, pc)
				got = append(got, text)
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("arrived: %q, want %q", got, want)
			}
		})
	}
}

func listen(t *testing.T, h *lab.Host, at netip.AddrPort) *net.UDPConn {
	t.Helper()
	var pc *net.UDPConn
	err := h.Do(func() (err error) {
		pc, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	return pc
}

func send(t *testing.T, pc *net.UDPConn, to net.Addr, text string) {
	t.Helper()
	if _, err := pc.WriteTo([]byte(text), to); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, pc *net.UDPConn) (string, net.Addr) {
	t.Helper()
	buf := make([]byte, 2048)
	if err := pc.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	n, from, err := pc.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n]), from
}

func refuse(t *testing.T, pc *net.UDPConn) {
	t.Helper()
	if err := pc.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, from, err := pc.ReadFrom(make([]byte, 2048)); err == nil {
		t.Errorf("%d bytes arrived from %v", n, from)
	}
}
