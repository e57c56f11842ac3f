//go:build lab && linux

package nat_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/lab"
	"shipworm/testnet/nat"
)

// The tests run inside namespaces of their own, where they may have routers.
func TestMain(m *testing.M) {
	inside, code, err := lab.Enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if !inside || err != nil {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// A kernel is a Linux router with nft's masquerade between two TUN devices. A
// packet that is written to one has left the other, or is dropped, before the
// write returns: the kernel forwards in the context of the writer.
type kernel struct {
	in, out int
	buf     []byte
}

var kernelOutside = addr("203.0.113.1")

// onRouter runs f on a thread in a new network namespace, with a router in it.
func onRouter(t *testing.T, input string, f func(*kernel) error) {
	t.Helper()
	done := make(chan error)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and the
		// namespace with the thread and the devices.
		runtime.LockOSThread()
		done <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("network namespace: %w", err)
			}
			k := &kernel{buf: make([]byte, 2048)}
			var err error
			if k.in, err = openTUN("inside"); err != nil {
				return err
			}
			defer unix.Close(k.in)
			if k.out, err = openTUN("outside"); err != nil {
				return err
			}
			defer unix.Close(k.out)
			if err := setUp(input); err != nil {
				return err
			}
			k.read(k.in) // what the interfaces say when they come up
			k.read(k.out)
			return f(k)
		}()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func openTUN(name string) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	return fd, err
}

// setUp makes the current namespace a router whose INPUT chain ends with the
// given verdict.
func setUp(input string) error {
	script := `set -e
ip link set lo up
ip address add 10.0.0.1/24 dev inside
ip address add ` + kernelOutside.String() + `/32 dev outside
for i in inside outside all; do
	echo 1 >/proc/sys/net/ipv6/conf/$i/disable_ipv6 2>/dev/null || true
	echo 0 >/proc/sys/net/ipv4/conf/$i/rp_filter
done
ip link set inside up txqueuelen 1000
ip link set outside up txqueuelen 1000
ip route add default dev outside
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 0 >/proc/sys/net/ipv4/icmp_ratemask
echo 1000000 >/proc/sys/net/ipv4/icmp_msgs_per_sec 2>/dev/null || true
echo 1000000 >/proc/sys/net/ipv4/icmp_msgs_burst 2>/dev/null || true
nft -f - <<END
table ip nat {
	chain out {
		type nat hook postrouting priority 100;
		oifname outside masquerade
	}
}
table ip filter {
	chain in {
		type filter hook input priority 0;
		` + input + `
	}
	chain through {
		type filter hook forward priority 0; policy drop;
		iifname inside accept
		ct state established,related accept
	}
}
END`
	cmd := exec.Command("sh", "-c", script)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("router: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// read returns the last packet waiting on a device that is not IPv6, or nil.
func (k *kernel) read(fd int) []byte {
	var last []byte
	for {
		n, err := unix.Read(fd, k.buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return last
		}
		if n >= ipv4.HeaderLen && k.buf[0]>>4 == 4 {
			last = append([]byte(nil), k.buf[:n]...)
		}
	}
}

// send writes a packet on one side and returns what came out on the other, and
// what came back.
func (k *kernel) send(outbound bool, pkt []byte) (through, answer []byte, err error) {
	from, to := k.out, k.in
	if outbound {
		from, to = k.in, k.out
	}
	if _, err := unix.Write(from, pkt); err != nil {
		return nil, nil, err
	}
	return k.read(to), k.read(from), nil
}

const (
	kernelPackets = 100_000
	kernelRound   = 5000 // then the tables are fresh again
)

// errChance ends a round: a port that one side threw is in use elsewhere, by
// chance, and not on the other side, so that the two will soon differ without
// either being wrong. With 80 throws of 64,512 a round that is not rare.
var errChance = errors.New("two flows met on a random port")

// The profiles "linux" and "linux-open-input" do with 100,000 random packets
// each what masquerading does, in verdict, in mapping and in whether a stray
// packet is answered. Where the kernel throws dice for a port, the engine must
// throw them too; from then on the two ports stand for one another.
func TestKernel(t *testing.T) {
	for _, tc := range []struct {
		input, profile string
		reject         bool
	}{
		{"drop", "linux", false},
		{"accept", "linux-open-input", true},
		{"reject", "linux", true}, // answers, but leaves no entry
	} {
		t.Run(tc.input, func(t *testing.T) {
			var all tally
			for round := uint64(0); all.packets < kernelPackets && round < 10*kernelPackets/kernelRound; round++ {
				onRouter(t, tc.input, func(k *kernel) error {
					d := newDifference(t, k, tc.profile, tc.reject, round)
					defer func() { all.add(d.tally) }()
					for range kernelRound {
						switch err := d.step(); {
						case errors.Is(err, errChance):
							d.tally.cut++
							return nil
						case err != nil:
							return err
						}
					}
					return nil
				})
			}
			t.Logf("%d packets, %d forwarded, %d new mappings of which %d had a random port, %d stray packets answered; %d rounds cut short by chance",
				all.packets, all.forwarded, all.mappings, all.random, all.answered, all.cut)
			if all.packets < kernelPackets || all.random == 0 || all.forwarded < all.packets/4 {
				t.Errorf("the traffic shows too little: %+v", all)
			}
		})
	}
}

type tally struct{ packets, forwarded, mappings, random, answered, cut int }

func (t *tally) add(o tally) {
	t.packets += o.packets
	t.forwarded += o.forwarded
	t.mappings += o.mappings
	t.random += o.random
	t.answered += o.answered
	t.cut += o.cut
}

// tuple is a flow from the inside.
type tuple struct {
	proto  byte
	inside netip.AddrPort
	remote netip.AddrPort
}

// A difference runs one stream of packets through the kernel and the engine.
type difference struct {
	t     *testing.T
	k     *kernel
	n     *nat.NAT
	rng   *rand.Rand
	flows map[tuple]ports
	list  []tuple
	pairs map[string]uint16 // protocol, inside endpoint and kernel's port -> engine's
	taken map[uint16]bool   // ports that chance gave away, on either side
	open  map[tuple]bool    // TCP connections whose SYN was answered
	tally tally
}

// ports are the external ports of a flow here and there.
type ports struct{ kernel, engine uint16 }

func newDifference(t *testing.T, k *kernel, profile string, reject bool, seed uint64) *difference {
	c, err := nat.ParseProfile(profile)
	if err != nil {
		t.Fatal(err)
	}
	c.External, c.Seed, c.Reject = []netip.Addr{kernelOutside}, seed, reject
	n, err := nat.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return &difference{t: t, k: k, n: n, rng: rand.New(rand.NewPCG(seed, 1)), flows: map[tuple]ports{},
		pairs: map[string]uint16{}, taken: map[uint16]bool{}, open: map[tuple]bool{}}
}

// What the traffic is made of: few enough that flows meet again and collide.
const (
	insideHosts, insidePorts  = 5, 4
	remoteHosts, remotePorts  = 4, 3
	firstInside, firstOutside = 5000, 7000
)

func (d *difference) inside() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(2 + d.rng.IntN(insideHosts))}), uint16(firstInside+d.rng.IntN(insidePorts)))
}

func (d *difference) remote() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(1 + d.rng.IntN(remoteHosts))}), uint16(firstOutside+d.rng.IntN(remotePorts)))
}

func (d *difference) step() error {
	d.tally.packets++
	protos := []byte{ipv4.UDP, ipv4.UDP, ipv4.UDP, ipv4.TCP, ipv4.ICMP}
	f := tuple{protos[d.rng.IntN(len(protos))], d.inside(), d.remote()}
	if f.proto == ipv4.ICMP {
		f.remote = netip.AddrPortFrom(f.remote.Addr(), 0)
	}
	switch p := d.rng.IntN(100); {
	case p < 45:
		return d.outbound(f)
	case p < 50 && f.proto == ipv4.UDP:
		return d.hairpin(f)
	case p < 85 && len(d.list) > 0: // an answer, or someone who knows the port
		known := d.list[d.rng.IntN(len(d.list))]
		remote := known.remote
		if d.rng.IntN(2) == 0 && known.proto == ipv4.UDP {
			remote = d.remote()
		}
		return d.inbound(known.proto, remote, d.flows[known])
	}
	port := uint16(firstInside + d.rng.IntN(insidePorts+1))
	f.proto = ipv4.UDP
	return d.inbound(f.proto, d.remote(), ports{port, port})
}

// packet builds what both get; a TCP answer acknowledges the SYN.
func packet(proto byte, outbound, first bool, from, to netip.AddrPort) []byte {
	switch {
	case proto == ipv4.UDP:
		return ipv4.AppendUDP(nil, 1, from, to, []byte("payload"))
	case proto == ipv4.TCP && outbound && first:
		return ipv4.AppendTCP(nil, 1, from, to, ipv4.SYN, nil)
	case proto == ipv4.TCP:
		flags, seq := byte(ipv4.ACK), byte(1)
		if !outbound {
			flags, seq = ipv4.SYN|ipv4.ACK, 0
		}
		p := ipv4.AppendTCP(nil, 1, from, to, flags, nil)
		// Sequence and acknowledgement numbers, and the checksum over them.
		p[27], p[31] = seq, 1
		sum := uint16(p[36])<<8 | uint16(p[37])
		var change ipv4.Delta
		change.Replace16(0, uint16(seq))
		change.Replace16(0, 1)
		sum = change.Apply(sum)
		p[36], p[37] = byte(sum>>8), byte(sum)
		return p
	case outbound:
		return ipv4.AppendEcho(nil, ipv4.EchoRequest, from.Addr(), to.Addr(), from.Port(), 1, []byte("ping"))
	}
	return ipv4.AppendEcho(nil, ipv4.EchoReply, from.Addr(), to.Addr(), to.Port(), 1, []byte("ping"))
}

// sides are the endpoints of a packet that went through.
func sides(pkt []byte) (src, dst netip.AddrPort) {
	if ipv4.Proto(pkt) == ipv4.ICMP {
		id := uint16(pkt[24])<<8 | uint16(pkt[25])
		return netip.AddrPortFrom(ipv4.Addr(ipv4.Src(pkt)), id), netip.AddrPortFrom(ipv4.Addr(ipv4.Dst(pkt)), id)
	}
	return ends(pkt)
}

func (d *difference) outbound(f tuple) error {
	old, known := d.flows[f]
	pkt := packet(f.proto, true, !d.open[f], f.inside, f.remote)
	through, _, err := d.k.send(true, pkt)
	if err != nil {
		return err
	}
	v := d.n.Outbound(time.Now(), pkt)
	if (through != nil) != (v.Action == nat.Forward) {
		return fmt.Errorf("packet %d: %v: the kernel forwards: %v, the engine: %v, %v", d.tally.packets, f, through != nil, v.Action, v.Reason)
	}
	if through == nil {
		return nil
	}
	d.tally.forwarded++
	theirs, _ := sides(through)
	ours, _ := sides(pkt)
	if theirs.Addr() != ours.Addr() {
		return fmt.Errorf("packet %d: %v: from %v in the kernel, %v in the engine", d.tally.packets, f, theirs, ours)
	}
	now := ports{theirs.Port(), ours.Port()}
	if known {
		if now != old {
			return fmt.Errorf("packet %d: %v: was %+v, now %+v", d.tally.packets, f, old, now)
		}
		return nil
	}
	d.tally.mappings++
	if v.Reason != nat.NewMapping {
		return fmt.Errorf("packet %d: %v: first packet: %v", d.tally.packets, f, v.Reason)
	}
	d.flows[f] = now
	d.list = append(d.list, f)
	return d.compare(f, now)
}

// compare judges a new mapping: kept in both, or the one its source has in
// both, or thrown in both.
func (d *difference) compare(f tuple, p ports) error {
	id := fmt.Sprint(f.proto, f.inside, p.kernel)
	if partner, met := d.pairs[id]; met {
		if partner != p.engine {
			return fmt.Errorf("packet %d: %v: the kernel used port %d of this source again, which is %d in the engine; it took %d; before: %s",
				d.tally.packets, f, p.kernel, partner, p.engine, d.history(f))
		}
		return nil
	}
	d.pairs[id] = p.engine
	keptThere, keptHere := p.kernel == f.inside.Port(), p.engine == f.inside.Port()
	if keptThere != keptHere {
		return fmt.Errorf("packet %d: %v: port %d in the kernel, %d in the engine", d.tally.packets, f, p.kernel, p.engine)
	}
	if !keptThere {
		d.tally.random++
		for _, port := range []uint16{p.kernel, p.engine} {
			if d.taken[port] || port >= firstInside && port <= firstInside+insidePorts {
				return errChance
			}
		}
		d.taken[p.kernel], d.taken[p.engine] = true, true
		if p.engine < 1024 && f.proto != ipv4.ICMP {
			return fmt.Errorf("packet %d: %v: random port %d", d.tally.packets, f, p.engine)
		}
	}
	return nil
}

// history lists the mappings of a flow's protocol that have to do with it.
func (d *difference) history(f tuple) string {
	var b strings.Builder
	for _, o := range d.list {
		if o.proto == f.proto && (o.inside == f.inside || o.remote == f.remote) {
			fmt.Fprintf(&b, "\n%v > %v: %+v", o.inside, o.remote, d.flows[o])
		}
	}
	return b.String()
}

func (d *difference) inbound(proto byte, remote netip.AddrPort, p ports) error {
	theirs := packet(proto, false, false, remote, netip.AddrPortFrom(kernelOutside, p.kernel))
	ours := packet(proto, false, false, remote, netip.AddrPortFrom(kernelOutside, p.engine))
	through, answer, err := d.k.send(false, theirs)
	if err != nil {
		return err
	}
	v := d.n.Inbound(time.Now(), ours)
	if (through != nil) != (v.Action == nat.Forward) || (answer != nil) != (v.Reply != nil) {
		return fmt.Errorf("packet %d: %d %v to %+v: the kernel forwards: %v, answers: %v; the engine: %v, %v, answers: %v",
			d.tally.packets, proto, remote, p, through != nil, answer != nil, v.Action, v.Reason, v.Reply != nil)
	}
	if answer != nil {
		d.tally.answered++
	}
	if through == nil {
		return nil
	}
	d.tally.forwarded++
	_, there := sides(through)
	_, here := sides(ours)
	d.open[tuple{proto, here, remote}] = true
	if there != here {
		return fmt.Errorf("packet %d: %d %v to %+v went to %v in the kernel, %v in the engine", d.tally.packets, proto, remote, p, there, here)
	}
	return nil
}

// hairpin sends from the inside to the router's own outside address.
func (d *difference) hairpin(f tuple) error {
	pkt := packet(f.proto, true, true, f.inside, netip.AddrPortFrom(kernelOutside, f.inside.Port()))
	through, _, err := d.k.send(true, pkt)
	if err != nil {
		return err
	}
	if v := d.n.Outbound(time.Now(), pkt); through != nil || v.Reason != nat.NoHairpin {
		return fmt.Errorf("packet %d: hairpin: the kernel forwards: %v; the engine: %v", d.tally.packets, through != nil, v.Reason)
	}
	return nil
}
