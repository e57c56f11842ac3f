package tun

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"shipworm/internal/leak"
	"shipworm/internal/nic"
	"shipworm/teredo/firewall"
	"shipworm/teredo/packet"
	"shipworm/teredo/wire"
)

func TestMain(m *testing.M) {
	if inside, code := enterLab(); !inside {
		os.Exit(code)
	}
	goleak.VerifyTestMain(leak.Patient(m))
}

var (
	own  = netip.MustParseAddr("2001:0:cb00:7101:3023:317e:39cc:9bf5")
	peer = netip.MustParseAddr("2001:0:cb00:7101:1001:aaaa:39cc:9beb")
)

// wireDevice is a device whose host is the test.
type wireDevice struct {
	fromHost chan []byte
	toHost   [][]byte
	closed   chan struct{}
}

func (d *wireDevice) read(pkts []packet.Packet) (n int, err error) {
	select {
	case b := <-d.fromHost:
		for {
			p := &pkts[n]
			p.Off, p.Len, p.Segment = packet.Headroom, copy(p.Buf[packet.Headroom:], b), 0
			if n++; n == len(pkts) || len(d.fromHost) == 0 {
				return n, nil
			}
			b = <-d.fromHost
		}
	case <-d.closed:
		return 0, os.ErrClosed
	}
}

func (d *wireDevice) write(pkts [][]byte) int {
	for _, b := range pkts {
		d.toHost = append(d.toHost, bytes.Clone(b))
	}
	return len(pkts)
}

func (d *wireDevice) Close() error { close(d.closed); return nil }

func testDevice(t *testing.T, assign func(netip.Addr) error) (*Device, *wireDevice) {
	w := &wireDevice{fromHost: make(chan []byte, 100), closed: make(chan struct{})}
	d := newDevice(Config{Assign: assign}, "test", w)
	t.Cleanup(func() { d.Close() })
	return d, w
}

func noAssign(netip.Addr) error { return nil }

func echo(src, dst netip.Addr, reply bool) []byte {
	b, err := wire.AppendEcho(nil, &wire.Echo{Reply: reply, Src: src, Dst: dst, HopLimit: 64, ID: 7, Seq: 1})
	if err != nil {
		panic(err)
	}
	return b
}

// Good packets pass between bad ones, in order; answers come in, questions
// about other flows do not. T-25
func TestBatches(t *testing.T) {
	d, w := testDevice(t, noAssign)
	if err := d.SetAddr(own); err != nil {
		t.Fatal(err)
	}
	good := [][]byte{echo(own, peer, false), echo(own, peer, true)}
	for _, b := range [][]byte{{1, 2, 3}, good[0], wire.AppendSolicitation(nil, own), good[1], make([]byte, 60)} {
		w.fromHost <- b
	}
	pkts := packet.NewBatch(8, packet.DefaultSize)
	n, err := d.ReadBatch(pkts)
	if err != nil || n != 2 || !bytes.Equal(pkts[0].Data(), good[0]) || !bytes.Equal(pkts[1].Data(), good[1]) {
		t.Fatalf("read %d packets, %v", n, err)
	}
	buffers := map[*byte]bool{}
	for i := range pkts {
		buffers[&pkts[i].Buf[0]] = true
	}
	if len(buffers) != len(pkts) {
		t.Error("two packets have one buffer")
	}
	in := make([]packet.Packet, 3)
	in[0].Set(echo(peer, own, true), netip.AddrPort{})
	in[1].Set(wire.AppendSolicitation(nil, peer), netip.AddrPort{})
	in[2].Set(echo(own, peer, true), netip.AddrPort{}) // not to us
	if n, err := d.WriteBatch(in); n != 1 || err != nil || len(w.toHost) != 1 || !bytes.Equal(w.toHost[0], in[0].Data()) {
		t.Errorf("wrote %d packets, %v; the host got %d", n, err, len(w.toHost))
	}
	drops := d.Drops()
	if drops["malformed"] != 2 || drops["multicast"] != 1 || drops["not_ours"] != 2 {
		t.Errorf("drops %v", drops)
	}
	d.Open(firewall.Port{Proto: 17, Number: 9})
	d.ClosePort(firewall.Port{Proto: 17, Number: 9})
}

// Foreign sources are told that they may not pass, ten times a second at
// most, in errors that a kernel believes; errors and groups are told
// nothing. T-26
func TestProhibited(t *testing.T) {
	foreign := netip.MustParseAddr("2001:db8::5")
	b := echo(foreign, peer, false)
	var a answers
	now := time.Unix(1000, 0)
	n := 0
	for range 1000 { // over two seconds less a millisecond
		if answer := a.prohibited(now, b); answer != nil {
			n++
			p, err := wire.CheckPacket(answer)
			if err != nil || p.Destination() != foreign || p.HopLimit() != 255 ||
				wire.ChecksumICMPv6(p.Source(), p.Destination(), p.Payload()) != 0 ||
				!bytes.Equal(p.Payload()[:2], []byte{1, 1}) || !bytes.Equal(p.Payload()[8:], b) {
				t.Fatalf("answer %x, %v", answer, err)
			}
		}
		now = now.Add(1999 * time.Microsecond)
	}
	if n != 20 {
		t.Errorf("%d answers in two seconds, want 20", n)
	}
	now = now.Add(time.Hour)
	long, err := wire.AppendEcho(nil, &wire.Echo{Src: foreign, Dst: peer, HopLimit: 64, Data: make([]byte, 1400)})
	if err != nil {
		t.Fatal(err)
	}
	if answer := a.prohibited(now, long); len(answer) != wire.MTU {
		t.Errorf("an answer of %d bytes to a long packet, want %d", len(answer), wire.MTU)
	}
	for name, b := range map[string][]byte{
		"an error":   wire.AppendProhibited(nil, foreign, peer, nil),
		"nobody":     echo(netip.IPv6Unspecified(), peer, false),
		"link-local": echo(netip.MustParseAddr("fe80::5"), peer, false),
	} {
		if a.prohibited(now, b) != nil {
			t.Errorf("%s was answered", name)
		}
	}
}

// Packets do not wait for the address, and of addresses that come faster than
// they are given only the last matters. T-35
func TestAssign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var given []netip.Addr
		d, w := testDevice(t, func(a netip.Addr) error {
			time.Sleep(time.Second)
			given = append(given, a)
			return nil
		})
		began := time.Now()
		for _, a := range []netip.Addr{own, peer} {
			if err := d.SetAddr(a); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		for _, a := range []netip.Addr{{}, own} {
			if err := d.SetAddr(a); err != nil {
				t.Fatal(err)
			}
		}
		w.fromHost <- echo(own, peer, false)
		if n, err := d.ReadBatch(packet.NewBatch(1, packet.DefaultSize)); n != 1 || err != nil || time.Since(began) != 0 {
			t.Errorf("read %d, %v after %v", n, err, time.Since(began))
		}
		time.Sleep(keepEvery - time.Second)
		synctest.Wait()
		if len(given) < 1 || len(given) > 3 || given[len(given)-1] != own {
			t.Errorf("given: %v", given)
		}
	})
}

// What somebody took away is put back: the address is given again and again,
// until there is none. TR-03
func TestAssignKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var given []netip.Addr
		d, _ := testDevice(t, func(a netip.Addr) error { given = append(given, a); return nil })
		for _, a := range []netip.Addr{own, {}} {
			given = nil
			if err := d.SetAddr(a); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10*keepEvery + time.Millisecond)
			synctest.Wait()
			want := []netip.Addr{{}}
			if a.IsValid() {
				want = slices.Repeat([]netip.Addr{own}, 11)
			}
			if !slices.Equal(given, want) {
				t.Errorf("%v: given %v", a, given)
			}
		}
	})
}

// A run is judged by its first packet; that its last ends the connection is seen
// all the same: minutes later, strangers at the peer's address stay outside. T-25
func TestRunEndsFlow(t *testing.T) {
	const syn, fin, ack = 0x02, 0x01, 0x10
	tcp := func(src, dst netip.Addr, from, to, flags byte) []byte {
		b := append(make([]byte, 8, 60), append(src.AsSlice(), dst.AsSlice()...)...)
		b[0], b[5], b[6], b[7] = 0x60, 20, wire.ProtoTCP, 64
		return append(b, 0x80, from, 0x80, to, 0, 0, 0, 1, 0, 0, 0, 1, 5<<4, flags, 1, 0, 0, 0, 0, 0)
	}
	for name, last := range map[string]byte{"goes on": ack, "ends": fin | ack} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, _ := testDevice(t, noAssign)
				if err := d.SetAddr(own); err != nil {
					t.Fatal(err)
				}
				out := func(pkts ...[]byte) {
					p := make([]packet.Packet, 1)
					p[0].Set(bytes.Join(pkts, nil), netip.AddrPort{})
					p[0].Segment = len(pkts[0])
					if kept, _ := d.outbound(p, 1); kept != 1 {
						t.Fatal("dropped")
					}
				}
				in := func() int {
					p := make([]packet.Packet, 1)
					p[0].Set(tcp(peer, own, 2, 1, ack), netip.AddrPort{})
					n, err := d.WriteBatch(p)
					if err != nil {
						t.Fatal(err)
					}
					return n
				}
				out(tcp(own, peer, 1, 2, syn))
				if in() != 1 {
					t.Fatal("no answer came in")
				}
				out(tcp(own, peer, 1, 2, ack), tcp(own, peer, 1, 2, ack), tcp(own, peer, 1, 2, last))
				time.Sleep(10 * time.Minute)
				if want := 1 - int(last&fin); in() != want {
					t.Errorf("want %d in", want)
				}
			})
		})
	}
}

// A device whose address the kernel refuses is broken, and says so.
func TestAssignFails(t *testing.T) {
	refused := errors.New("refused")
	d, _ := testDevice(t, func(netip.Addr) error { return refused })
	if err := d.SetAddr(own); err != nil {
		t.Fatal(err)
	}
	if _, err := d.ReadBatch(packet.NewBatch(1, packet.DefaultSize)); !errors.Is(err, refused) {
		t.Errorf("read: %v", err)
	}
	if err := d.SetAddr(own); !errors.Is(err, net.ErrClosed) {
		t.Errorf("set again: %v", err)
	}
}

func TestClosed(t *testing.T) {
	d, _ := testDevice(t, noAssign)
	d.Close()
	if _, err := d.ReadBatch(packet.NewBatch(1, packet.DefaultSize)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read: %v", err)
	}
	if _, err := d.WriteBatch(packet.NewBatch(1, packet.DefaultSize)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write: %v", err)
	}
}

// The helper gives and takes addresses, says what went wrong, and ends with
// its client. C-02
func TestRemoteAssign(t *testing.T) {
	near, far := net.Pipe()
	var have netip.Addr
	ended := make(chan error, 1)
	go func() {
		ended <- ServeAssign(far, func(a netip.Addr) error {
			if a == peer {
				return errors.New("no such thing")
			}
			have = a
			return nil
		})
	}()
	assign := RemoteAssign(near)
	if err := assign(own); err != nil || have != own {
		t.Errorf("%v, has %v", err, have)
	}
	if err := assign(peer); err == nil || err.Error() != "no such thing" {
		t.Errorf("error %v", err)
	}
	if err := assign(netip.Addr{}); err != nil || have.IsValid() {
		t.Errorf("%v, has %v", err, have)
	}
	near.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := assign(own); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("without a helper: %v", err)
	}
}

// Whoever takes over the client can make the helper do nothing else. C-02
func TestAssignOnlyTeredo(t *testing.T) {
	for _, s := range []string{"2001:db8::1", "fe80::1", "::1", "2002::1"} {
		if err := NewAssign("lo", false)(netip.MustParseAddr(s)); !errors.Is(err, wire.ErrNotTeredo) {
			t.Errorf("%s: %v", s, err)
		}
	}
}

// Names that water would cut off, or fail on with a file left open.
func TestNames(t *testing.T) {
	for name, want := range map[string]error{
		"": nic.ErrName, "sixteen-letters!": nic.ErrName, "a b": nic.ErrName, "../x": nic.ErrName, "..": nic.ErrName, "a%d": nic.ErrName,
	} {
		if d, err := New(Config{Name: name}); !errors.Is(err, want) {
			t.Errorf("%q: %v, %v", name, d, err)
		}
	}
}
