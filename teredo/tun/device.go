package tun

import (
	"fmt"
	"io"

	"shipworm/internal/nic"
	"shipworm/teredo/packet"
)

// device is what carries the packets: the kernel's interface, or a test's.
type device interface {
	io.Closer

	// read waits for packets and fills as many as there are, single ones and
	// runs, behind packet.Headroom. One goroutine reads at a time.
	read(pkts []packet.Packet) (int, error)

	// write hands IPv6 packets to the host and returns how many it took. It
	// does not wait. One goroutine writes at a time.
	write(pkts [][]byte) int
}

// open makes the interface: the fastest kind that there is, unless plain.
func open(name string, plain bool) (device, string, error) {
	if !plain {
		if d, err := openVnet(name); d != nil || err != nil {
			return d, name, err
		}
	}
	t, err := nic.OpenTUN(name)
	if err != nil {
		return nil, "", fmt.Errorf("tun: %w", err)
	}
	return &plainDevice{tun: t}, t.Name(), nil
}

// plainDevice moves one packet a system call.
type plainDevice struct {
	tun   *nic.TUN
	bufs  [][]byte
	sizes []int
}

func (d *plainDevice) Close() error { return d.tun.Close() }

func (d *plainDevice) read(pkts []packet.Packet) (int, error) {
	if cap(d.bufs) < len(pkts) {
		d.bufs, d.sizes = make([][]byte, len(pkts)), make([]int, len(pkts))
	}
	bufs, sizes := d.bufs[:len(pkts)], d.sizes[:len(pkts)]
	for i := range pkts {
		bufs[i] = pkts[i].Buf[packet.Headroom:]
	}
	n, err := d.tun.ReadMany(bufs, sizes)
	for i := range n {
		pkts[i].Off, pkts[i].Len, pkts[i].Segment = packet.Headroom, sizes[i], 0
	}
	return n, err
}

func (d *plainDevice) write(pkts [][]byte) (n int) {
	for _, b := range pkts {
		if _, err := d.tun.Write(b); err == nil {
			n++
		}
	}
	return n
}
