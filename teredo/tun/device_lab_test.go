//go:build lab && linux

package tun

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"shipworm/internal/nic"
	"shipworm/teredo/devicetest"
	"shipworm/teredo/firewall"
	"shipworm/teredo/packet"
	"shipworm/teredo/segment"
	"shipworm/testnet/lab"
)

func enterLab() (inside bool, code int) {
	inside, code, err := lab.Enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return false, max(code, 1)
	}
	return inside, code
}

// kernel makes a device of the kernel's with sockets behind it, in the network
// of the laboratory.
func kernel(t *testing.T, mtu int, plain bool) (*Device, *devicetest.Host) {
	t.Helper()
	d, err := New(Config{Name: "suite", Plain: plain})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.Close()
		if _, err := net.InterfaceByName("suite"); err == nil {
			t.Error("the interface is still there")
		}
	})
	link, err := nic.Find("suite")
	if err == nil {
		err = link.SetMTU(mtu)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, proto := range []byte{6, 17} {
		d.Open(firewall.Port{Proto: proto, Number: devicetest.Port})
	}
	if err := d.SetAddr(devicetest.Addr); err != nil {
		t.Fatal(err)
	}
	// The kernel takes packets in only once it has a route to the address, which
	// is a moment after sockets can be bound to it.
	route := regexp.MustCompile(fmt.Sprintf(`(?m)^%x 80 .* 8[0-9a-f]{7} +suite$`, devicetest.Addr.As16())) // RTF_LOCAL
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if routes, err := os.ReadFile("/proc/net/ipv6_route"); err != nil || time.Now().After(end) {
			t.Fatal("no address on the interface: ", err)
		} else if route.Match(routes) {
			break
		}
	}
	local := netip.AddrPortFrom(devicetest.Addr, devicetest.Port)
	h := &devicetest.Host{Device: d, Runs: !plain}
	if h.Socket, err = net.ListenUDP("udp6", net.UDPAddrFromAddrPort(local)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Socket.Close() })
	if h.Listener, err = net.ListenTCP("tcp6", net.TCPAddrFromAddrPort(local)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Listener.Close() })
	return d, h
}

// TestVirtio and TestPlain: the kernel's devices under the suite of all devices.
func TestVirtio(t *testing.T) {
	devicetest.Run(t, func(t *testing.T, mtu int) *devicetest.Host {
		_, h := kernel(t, mtu, false)
		return h
	})
}

func TestPlain(t *testing.T) {
	devicetest.Run(t, func(t *testing.T, mtu int) *devicetest.Host {
		_, h := kernel(t, mtu, true)
		return h
	})
}

// TestVirtioWithoutUDP: a kernel before Linux 6.2 has runs of TCP alone.
func TestVirtioWithoutUDP(t *testing.T) {
	devicetest.Run(t, func(t *testing.T, mtu int) *devicetest.Host {
		d, h := kernel(t, mtu, false)
		v := d.dev.(*vnetDevice)
		v.out.join.UDP = false
		if err := v.raw.Control(func(fd uintptr) {
			if err := unix.IoctlSetInt(int(fd), unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4|unix.TUN_F_TSO6|unix.TUN_F_TSO_ECN); err != nil {
				t.Error(err)
			}
		}); err != nil {
			t.Error(err)
		}
		return h
	})
}

// TestUDPRuns: what a program sends in one piece (UDP_SEGMENT) comes out of the
// device as one run, and what goes into it as neighbours is one piece to a
// program that wants it (UDP_GRO).
func TestUDPRuns(t *testing.T) {
	d, h := kernel(t, 1280, false)
	if !d.dev.(*vnetDevice).out.join.UDP {
		t.Skip("this kernel has no runs of UDP on TUN devices")
	}
	const size, total = 500, 20100
	want := make([]byte, total)
	for i := range want {
		want[i] = byte(i * 7)
	}
	raw, err := h.Socket.(*net.UDPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		if failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, size); failed == nil {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1)
		}
	}); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	peer := netip.AddrPortFrom(devicetest.Peer, 5000)
	if _, err := h.Socket.WriteTo(want, net.UDPAddrFromAddrPort(peer)); err != nil {
		t.Fatal(err)
	}
	pkts := packet.NewBatch(4, packet.RunSize)
	for udp := -1; udp < 0; { // the kernel tells routers of its groups
		n, err := d.ReadBatch(pkts)
		if err != nil {
			t.Fatal(err)
		}
		udp = slices.IndexFunc(pkts[:n], func(p packet.Packet) bool { return p.Data()[6] == unix.IPPROTO_UDP })
		if udp >= 0 {
			pkts[0], pkts[udp] = pkts[udp], pkts[0]
		}
	}
	if pkts[0].Segment != 48+size {
		t.Fatalf("segments of %d", pkts[0].Segment)
	}
	var got []byte
	for b := range pkts[0].Datagrams() {
		if !segment.Checked(b) {
			t.Errorf("a wrong checksum: %x", b[:48])
		}
		got = append(got, b[48:]...)
		// And back.
		copy(b[8:40], append(append([]byte(nil), b[24:40]...), b[8:24]...))
		copy(b[40:44], []byte{b[42], b[43], b[40], b[41]})
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes came out, or others", len(got))
	}
	if taken, err := d.WriteBatch(pkts[:1]); taken != (total+size-1)/size || err != nil {
		t.Fatal(taken, err)
	}
	b, oob := make([]byte, 1<<16), make([]byte, 64)
	n, k, _, _, err := h.Socket.(*net.UDPConn).ReadMsgUDP(b, oob)
	if err != nil || k == 0 || !bytes.Equal(b[:n], want) {
		t.Errorf("the host got %d bytes with %d of control messages, %v", n, k, err)
	}
}

// TestRunsFit: the host makes no super-packet of which a socket could not send
// every packet in one message, 51 of 1280 bytes in 65,507, and one of that length
// is one run. A router's kernel is left alone: what it forwards it would have to
// cut into packets.
func TestRunsFit(t *testing.T) {
	segments := func(name string) string {
		out, err := exec.Command("ip", "-d", "link", "show", "dev", name).CombinedOutput()
		m := regexp.MustCompile(`gso_max_segs (\d+)`).FindSubmatch(out)
		if err != nil || m == nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(m[1])
	}
	d, h := kernel(t, 1280, false)
	if got := segments("suite"); got != "51" {
		t.Errorf("super-packets of up to %s segments", got)
	}
	r, err := NewRouter("router", false)
	if err != nil {
		t.Fatal(err)
	}
	if got := segments("router"); got == "51" {
		t.Error("a router's are bounded as well")
	}
	r.Close() // its route is better
	if !d.dev.(*vnetDevice).out.join.UDP {
		t.Skip("this kernel has no runs of UDP on TUN devices")
	}
	const size = 1280 - 48
	raw, err := h.Socket.(*net.UDPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, size) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	defer time.AfterFunc(time.Minute, func() { d.Close() }).Stop() // whatever hangs, ends
	pkts := packet.NewBatch(64, packet.RunSize)
	for _, n := range []int{51, 52} {
		if _, err := h.Socket.WriteTo(make([]byte, n*size), net.UDPAddrFromAddrPort(netip.AddrPortFrom(devicetest.Peer, 5000))); err != nil {
			t.Fatal(err)
		}
		runs := 0
		for left := n * 1280; left > 0; {
			k, err := d.ReadBatch(pkts)
			if err != nil {
				t.Fatal(err)
			}
			for i := range pkts[:k] {
				if p := &pkts[i]; p.Data()[6] == unix.IPPROTO_UDP { // the kernel tells routers of its groups
					left -= p.Len
					runs++
				}
			}
		}
		if one := n <= 51; one != (runs == 1) {
			t.Errorf("%d datagrams came in %d pieces", n, runs)
		}
	}
}
