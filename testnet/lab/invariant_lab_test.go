//go:build lab && linux

package lab_test

import (
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/link"
)

// L-05: the invariants hold for whatever programs send, over perfect lines as
// over others: a packet with a checksum that nobody will mend is an error of
// Close, and one that is left to a network card is none.
func TestInvariants(t *testing.T) {
	for _, test := range []struct {
		name string
		line link.Config
	}{
		{"perfect line", link.Config{}},
		{"line with a loss", link.Config{Loss: 1e-9}},
		{"line that cuts", link.Config{MTU: 1280}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, spoil := range []byte{0, 1} {
				l, home, server, err := build("cone", test.line)
				if err != nil {
					t.Fatal(err)
				}
				output(t, home, "ping", "-c1", "-W20", "server")
				// The pieces that a line makes of a packet share its number.
				output(t, home, "ping", "-M", "dont", "-s", "1400", "-c1", "-W20", "server")
				pkt := ipv4.AppendUDP(nil, 1, netip.AddrPortFrom(inside, 5000), netip.AddrPortFrom(server.Addr(), 7), []byte("x"))
				pkt[27] ^= spoil
				if err := home.Do(func() error { return sendRaw(pkt, server.Addr()) }); err != nil {
					t.Fatal(err)
				}
				output(t, home, "ping", "-c1", "-W20", "server") // comes after it
				err = l.Close()
				if spoil == 0 && err != nil {
					t.Errorf("without a breach: %v", err)
				}
				if spoil != 0 && (err == nil || !strings.Contains(err.Error(), "a checksum is wrong")) {
					t.Errorf("a wrong checksum: %v", err)
				}
			}
		})
	}
}

// sendRaw sends a packet as it is.
func sendRaw(pkt []byte, to netip.Addr) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Sendto(fd, pkt, 0, &unix.SockaddrInet4{Addr: to.As4()})
}
