package scenario

import (
	"encoding/binary"
	"net/netip"
	"time"

	"shipworm/testnet/sim"
)

// simulateEcho answers every datagram with itself (RFC 862).
func simulateEcho(t *Task) error {
	for _, a := range t.Node.Addrs() {
		var port *sim.UDPPort
		var err error
		port, err = t.Node.BindUDPAddr(netip.AddrPortFrom(a, t.Program.Port), func(_ time.Time, from netip.AddrPort, b []byte) {
			_ = port.SendTo(from, b) // a line that drops is what the scenario is about
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// simulatePing sends datagrams with a number to a host that echoes them.
func simulatePing(t *Task) error {
	to := t.Program.target()
	var p *Pinger
	port, err := t.Node.BindUDP(0, func(_ time.Time, from netip.AddrPort, b []byte) {
		if seq, ok := pingNumber(b, t.Seed); ok && from == to && p != nil {
			p.Answered(seq)
		}
	})
	if err != nil {
		return err
	}
	b := make([]byte, t.Program.Size)
	p = NewPinger(t, func(seq int) {
		putPing(b, t.Seed, seq)
		_ = port.SendTo(to, b)
	})
	return nil
}

// A ping's datagram begins with the seed of its program and its number, so that
// several programs do not take each other's answers.
func putPing(b []byte, seed uint64, seq int) {
	binary.BigEndian.PutUint64(b, seed)
	binary.BigEndian.PutUint64(b[8:], uint64(seq))
}

func pingNumber(b []byte, seed uint64) (int, bool) {
	if len(b) < 16 || binary.BigEndian.Uint64(b) != seed {
		return 0, false
	}
	return int(binary.BigEndian.Uint64(b[8:])), true
}
