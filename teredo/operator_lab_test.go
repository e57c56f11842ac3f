//go:build lab && linux

package teredo

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
)

// control makes an ICMPv6 packet of an echo request's shape.
func control(src, dst netip.Addr, kind byte, body []byte) []byte {
	b := make([]byte, 40, 44+len(body))
	b[0], b[6], b[7] = 0x60, wire.ProtoICMPv6, 255
	binary.BigEndian.PutUint16(b[4:], uint16(4+len(body)))
	*(*[16]byte)(b[8:]), *(*[16]byte)(b[24:]) = src.As16(), dst.As16()
	b = append(append(b, kind, 0, 0, 0), body...)
	binary.BigEndian.PutUint16(b[42:], wire.ChecksumICMPv6(src, dst, b[40:]))
	return b
}

// A router advertisement, a redirect and a neighbour advertisement that come
// through the tunnel, from a peer whose pings are answered, change no route,
// address or neighbour, however willing the kernel is. T-24
func TestTUNAdvertisement(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	s.ourServer("--listen", primary.String())
	home := s.home("cone")
	_, q := s.client(home, "--tun", "teredo")
	s.must(home, "sysctl -q -w net.ipv6.conf.teredo.accept_ra=2 net.ipv6.conf.teredo.accept_redirects=1 net.ipv6.conf.teredo.autoconf=1")
	evil, err := s.lab.Host("evil", s.line, netip.MustParseAddr("198.51.100.66"))
	if err != nil {
		t.Fatal(err)
	}
	tables := func() string {
		return s.must(home, "ip -6 route show table all; ip -6 address; ip -6 neigh; cat /proc/sys/net/ipv6/conf/teredo/hop_limit")
	}
	before := tables()
	err = evil.Do(func() error {
		sock, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(198, 51, 100, 66), Port: 40000})
		if err != nil {
			return err
		}
		defer sock.Close()
		src := wire.AddressFrom(primary, 0, netip.MustParseAddrPort("198.51.100.66:40000")).Addr()
		dst := q.Address.Addr()
		send := func(kind byte, body []byte) error {
			_, err := sock.WriteToUDPAddrPort(control(src, dst, kind, body), q.Mapped)
			return err
		}
		pong := func() error {
			if err := send(wire.TypeEchoRequest, []byte{0, 1, 0, 1, 'p', 'i', 'n', 'g'}); err != nil {
				return err
			}
			_ = sock.SetReadDeadline(time.Now().Add(patience))
			for b := make([]byte, 2000); ; {
				n, err := sock.Read(b)
				if err != nil || n > 40 && b[n-9-3] == 129 {
					return err
				}
			}
		}
		if err := pong(); err != nil {
			return fmt.Errorf("no way in: %w", err)
		}
		prefix := netip.MustParseAddr("2001:db8:bad::").As16()
		ra := append([]byte{64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 3, 4, 64, 0xc0, 0, 0, 0x0e, 0x10, 0, 0, 0x0e, 0x10, 0, 0, 0, 0}, prefix[:]...)
		addr := dst.As16()
		for kind, body := range map[byte][]byte{
			134: ra, 136: append([]byte{0xe0, 0, 0, 0}, addr[:]...), 137: append(append(make([]byte, 4), addr[:]...), prefix[:]...),
		} {
			if err := send(kind, body); err != nil {
				return err
			}
		}
		return pong() // all of it was there before this
	})
	if err != nil {
		t.Fatal(err)
	}
	if after := tables(); after != before {
		t.Errorf("after the advertisement:\n%s\nbefore:\n%s", after, before)
	}
	out, _, _ := s.run(home, "teredo", "show", "--json")
	var st State
	if err := json.Unmarshal([]byte(out), &st); err != nil || st.Drops[engine.DropDiscovery] != 3 {
		t.Errorf("%d packets counted, want 3: %v", st.Drops[engine.DropDiscovery], err)
	}
}

// Another user reads the state of the system's client, in netsh's words as
// well, and can change nothing: neither the file that names the server nor,
// through the socket, the client. Of a person's own client nobody else hears.
// T-32 C-04 C-09
func TestOtherUser(t *testing.T) {
	t.Parallel()
	needs(t, "setpriv", "python3")
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	dir, bin := publicCopy(t)
	s := newStreet(t)
	s.ourServer("--listen", primary.String())
	home := s.home("port-restricted")
	config := filepath.Join(dir, "teredo.toml")
	if err := os.WriteFile(config, []byte("[client]\nserver = \""+primary.String()+"\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	as := func(env string, args ...string) (out string, code int) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		cmd := home.Command(ctx, "setpriv", append([]string{"--reuid", "65534", "--regid", "65534", "--clear-groups", "env", env, "HOME=/nonexistent", bin}, args...)...)
		b, _ := cmd.CombinedOutput()
		return string(b), cmd.ProcessState.ExitCode()
	}
	if err := os.Chmod(dir, 0o755); err != nil { // the file cannot be replaced either
		t.Fatal(err)
	}

	system := "RUNTIME_DIRECTORY=" + dir
	client := s.start(home, "env", system, bin, "teredo", "client", "--config", config)
	if line := <-client.lines; !strings.HasPrefix(line, "qualified: ") {
		t.Fatalf("%q", line)
	}
	for _, words := range [][]string{{"teredo", "show"}, {"netsh", "interface", "teredo", "show", "state"}, {"netsh", "interface", "ipv6", "show", "teredo"}} {
		out, code := as(system, words...)
		if code != 0 || !strings.Contains(out, "State                   : qualified\n") || !strings.Contains(out, "Local Mapping           : 192.168.1.2:") {
			t.Errorf("%v: exit code %d\n%s", words, code, out)
		}
	}
	for _, words := range [][]string{{"teredo", "set", "--config", config, "--server", "203.0.113.66"}, {"netsh", "interface", "teredo", "set", "state", "--config", config, "servername=203.0.113.66"}} {
		if out, code := as(system, words...); code != 4 || strings.Count(out, "\n") > 2 {
			t.Errorf("%v: exit code %d, want 4\n%s", words, code, out)
		}
	}
	if b, err := os.ReadFile(config); err != nil || strings.Contains(string(b), "66") {
		t.Errorf("the file is now %q, %v", b, err)
	}
	// Whatever is written to the socket is not read.
	s.must(home, "setpriv --reuid 65534 --clear-groups --regid 65534 python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.connect(\""+dir+"/teredo.sock\"); s.send(b\"x\" * 60000)'; true")
	if out, code := as(system, "teredo", "show"); code != 0 || !strings.Contains(out, primary.String()) {
		t.Errorf("afterwards: exit code %d\n%s", code, out)
	}
	// Nor does the kernel let others change what runs, whatever the socket's mode.
	change := filepath.Join(dir, "teredo-set.sock")
	const ask = "python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.connect(\"%s\"); s.send(b\"{\\\"refresh\\\": \\\"20\\\"}\"); print(s.recv(1000))'"
	for _, mode := range []os.FileMode{0o600, 0o666} {
		if err := os.Chmod(change, mode); err != nil {
			t.Fatal(err)
		}
		if out, err := s.shell(home, "setpriv --reuid 65534 --clear-groups --regid 65534 "+fmt.Sprintf(ask, change)); strings.Contains(out, "schema") {
			t.Errorf("another user changed the client: %v %s", err, out)
		}
	}
	if out, _ := as(system, "teredo", "show"); !strings.Contains(out, "Interval : 30 seconds") {
		t.Errorf("another user changed the client:\n%s", out)
	}
	if out := s.must(home, fmt.Sprintf(ask, change)); !strings.Contains(out, `"now":["refresh"]`) {
		t.Errorf("the owner was told %q", out)
	}
	if out, _ := as(system, "teredo", "show"); !strings.Contains(out, "Interval : 20 seconds") {
		t.Errorf("the owner did not change the client:\n%s", out)
	}
	_ = client.stop(syscall.SIGTERM)

	private := filepath.Join(dir, "own")
	own := "XDG_RUNTIME_DIR=" + private
	if err := os.Mkdir(private, 0o755); err != nil {
		t.Fatal(err)
	}
	client = s.start(home, "env", own, bin, "teredo", "client", "--port", "51999", "--config", config)
	if line := <-client.lines; !strings.HasPrefix(line, "qualified: ") {
		t.Fatalf("%q", line)
	}
	for path, mode := range map[string]os.FileMode{"shipworm": 0o755, "shipworm/teredo.sock": 0o666} { // the kernel's word counts
		if err := os.Chmod(filepath.Join(private, path), mode); err != nil {
			t.Error(err)
		}
	}
	if out, _ := as(own, "teredo", "show"); strings.Contains(out, ":51999") {
		t.Errorf("another user was told:\n%s", out)
	}
	if out := s.must(home, own+" "+bin+" teredo show"); !strings.Contains(out, ":51999") {
		t.Errorf("its own user was not told:\n%s", out)
	}
}
