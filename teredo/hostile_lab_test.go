//go:build lab && linux

package teredo

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
)

// resident memory of a program and all that it started, in bytes.
func (p *process) memory() (total int) {
	p.t.Helper()
	size := regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB$`)
	for pids := []string{strconv.Itoa(p.cmd.Process.Pid)}; len(pids) > 0; pids = pids[1:] {
		status, err := os.ReadFile("/proc/" + pids[0] + "/status")
		m := size.FindSubmatch(status)
		if err != nil || m == nil {
			continue // it has ended
		}
		kilobytes, _ := strconv.Atoi(string(m[1]))
		total += kilobytes << 10
		children, _ := filepath.Glob("/proc/" + pids[0] + "/task/*/children")
		for _, file := range children {
			b, _ := os.ReadFile(file)
			pids = append(pids, strings.Fields(string(b))...)
		}
	}
	if total == 0 {
		p.t.Fatal("no memory to be seen")
	}
	return total
}

// spoof sends a client n packets of 1,220 bytes, each from another native node
// through another relay.
func spoof(to netip.AddrPort, client netip.Addr, n int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	const size = 1220
	b := make([]byte, 28+size)
	b[0], b[8], b[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	*(*[4]byte)(b[16:]) = to.Addr().As4()
	binary.BigEndian.PutUint16(b[22:], to.Port())
	binary.BigEndian.PutUint16(b[24:], 8+size)
	inner := b[28:]
	inner[0], inner[6], inner[7] = 0x60, 17, 64
	binary.BigEndian.PutUint16(inner[4:], size-40)
	source, destination := netip.MustParseAddr("2001:db8:5::").As16(), client.As16()
	copy(inner[8:], source[:])
	copy(inner[24:], destination[:])
	for i := range uint32(n) {
		binary.BigEndian.PutUint32(b[12:], 0x0b000001+i) // 11.0.0.1 and on
		binary.BigEndian.PutUint16(b[20:], uint16(1024+i%60000))
		binary.BigEndian.PutUint32(inner[20:], i)
		if err := unix.Sendto(fd, b, 0, &unix.SockaddrInet4{Addr: to.Addr().As4()}); err != nil {
			return err
		}
		if i%100 == 99 {
			time.Sleep(time.Millisecond) // so that they are read
		}
	}
	return nil
}

// 200,000 forged packets cost a client little memory, and it goes on to serve
// peers. Miredo keeps 110 MB. T-20
func TestLabSpoofedSources(t *testing.T) {
	t.Parallel()
	c := newCountry(t)
	c.ourServer("--listen", primary.String(), "--listen", secondary.String())
	c.must(c.internet, "sysctl -qw net.ipv4.conf.all.rp_filter=0")
	home, evil := c.settle(masquerade+everybody+silent), c.settle("")
	client, q := c.client(home.Host, "--port", "3610")
	before := client.memory()
	const packets = 200_000
	var st State
	seen := uint64(0)
	for try := 0; try < 10 && seen < packets/20; try++ { // a client that stands still reads only what its socket holds
		if err := evil.Do(func() error { return spoof(q.Mapped, q.Address.Addr(), packets) }); err != nil {
			t.Fatal(err)
		}
		st, seen = c.state(home.Host), 0
		for _, n := range st.Drops {
			seen += n
		}
	}
	after := client.memory()
	t.Logf("%.1f MB, before %.1f MB; %d peers, %d drops counted", float64(after)/1e6, float64(before)/1e6, st.PeersOther, seen)
	if after-before > 40e6 || st.PeersOther > 1024 || seen < packets/20 {
		t.Errorf("%d bytes more, %d peers, %d drops counted: %v", after-before, st.PeersOther, seen, st.Drops)
	}
	if out, errOut, code := c.run(evil.Host, "teredo", "ping", "-c", "1", "--server", primary.String(), q.Address.String()); code != 0 {
		t.Errorf("the client is not reached: %d\n%s%s", code, out, errOut)
	}
}

// Whoever asks our server without a nonce is not told that of another client,
// which Miredo's does.
func TestLabNonceNotShared(t *testing.T) {
	t.Parallel()
	c := newCountry(t)
	c.ourServer("--listen", primary.String(), "--listen", secondary.String())
	nonce := [8]byte{0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4}
	ask := func(name string, addr string, b []byte) []byte {
		h := c.public(name, netip.MustParseAddr(addr))
		answer := make([]byte, 2000)
		err := h.Do(func() error {
			sock, err := net.Dial("udp4", netip.AddrPortFrom(primary, Port).String())
			if err != nil {
				return err
			}
			defer sock.Close()
			if _, err := sock.Write(b); err != nil {
				return err
			}
			_ = sock.SetReadDeadline(time.Now().Add(patience))
			n, err := sock.Read(answer)
			answer = answer[:n]
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	solicitation := wire.AppendSolicitation(nil, wire.ClientLinkLocal(false))
	if with := ask("one", "198.51.100.1", append(wire.AppendNonce(nil, nonce), solicitation...)); !bytes.Contains(with, nonce[4:]) {
		t.Errorf("the nonce did not come back: %x", with)
	}
	var d wire.Datagram
	without := ask("two", "198.51.100.2", solicitation)
	if err := wire.Parse(without, &d); err != nil || d.HasAuth || bytes.Contains(without, nonce[4:]) {
		t.Errorf("answered with %x, %v", without, err)
	}
}

// What a client finds out about NATs of the kernel's own, which Miredo does not
// ask: whether each destination has a mapping of its own, and who may come in.
func TestLabKernelNAT(t *testing.T) {
	t.Parallel()
	c := newCountry(t)
	c.ourServer("--listen", primary.String(), "--listen", secondary.String())
	want := map[string]string{
		"public": "independent, none", "cone": "independent, none", "portrestr": "independent, restricted",
		"symmetric": "symmetric, restricted", "reject": "independent, restricted",
	}
	homes := map[string]*settler{}
	for _, k := range kernelKinds {
		// The test of the filter has a port of its own.
		homes[k.name] = c.settle(strings.Replace(k.rules, "udp dport 3600-3699", "meta l4proto udp", 1))
		c.client(homes[k.name].Host, "--server", primary.String()+","+secondary.String(), "--port", "3610", "--cone-test")
	}
	for name, n := range homes {
		st := c.state(n.Host)
		for end := time.Now().Add(patience); st.Filtering == engine.FilteringUnknown && time.Now().Before(end); st = c.state(n.Host) {
			time.Sleep(time.Second)
		}
		if got := fmt.Sprintf("%v, %v", st.NAT, st.Filtering); got != want[name] {
			t.Errorf("%s: %s, want %s", name, got, want[name])
		}
	}
}

// A client with a key qualifies with the server that has it, and believes no
// other; one with another key is not served. T-13
func TestLabSecure(t *testing.T) {
	t.Parallel()
	c := newCountry(t)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	right := file("right", "alice 000102030405060708090a0b0c0d0e0f\n")
	wrong := file("wrong", "alice ff0102030405060708090a0b0c0d0e0f\n")
	c.ourServer("--listen", primary.String(), "--key-file", right)
	c.ourServer("--listen", secondary.String())
	c.client(c.settle(masquerade+silent).Host, "--client-id", "alice", "--key-file", right)
	refused := map[string]*process{}
	for what, args := range map[string][]string{
		"another key":           {"--server", primary.String(), "--key-file", wrong},
		"a server without keys": {"--server", secondary.String(), "--key-file", right},
	} {
		refused[what] = c.shipworm(c.settle(masquerade+silent).Host, append([]string{"teredo", "client", "--client-id", "alice"}, args...)...)
	}
	for what, p := range refused {
		if l, ok := <-p.lines; ok {
			t.Errorf("%s: %s", what, l)
		}
	}
}
