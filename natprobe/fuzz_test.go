package natprobe

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"shipworm/natprobe/message"
	"shipworm/natprobe/report"
)

// FuzzMachine hands a machine arbitrary datagrams, some of them with the
// transaction IDs it waits for, from addresses all over. N-05: no panic and
// little memory. And whatever comes, nothing looks open unless an answer came
// from the other address to a question that asked for it, nothing is sent to
// an address that the policy denies, and the run ends within its limits.
func FuzzMachine(f *testing.F) {
	good := message.Message{Class: message.Success, Mapped: addrPort("203.0.113.1:7"), XORMapped: addrPort("203.0.113.1:7"), Other: addrPort("198.51.100.2:3479")}
	refusal := message.Message{Class: message.Error, Code: 420, Unknown: []uint16{3}}
	inside := good
	inside.Other = addrPort("127.0.0.1:3479")
	for _, m := range []message.Message{good, refusal, inside, {}} {
		body := m.Append(nil)
		var script []byte
		for i := range byte(12) {
			script = append(script, i, i%5, 10, byte(len(body)))
			script = append(script, body...)
		}
		f.Add(script)
	}
	froms := []netip.AddrPort{
		addrPort("198.51.100.1:3478"), addrPort("198.51.100.2:3479"), addrPort("198.51.100.1:3479"),
		addrPort("198.51.100.2:3478"), addrPort("127.0.0.1:1"), addrPort("[2001:db8::1]:3478"), {},
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		now := begin
		m := newMachine(Config{
			Servers: []netip.AddrPort{addrPort("198.51.100.1:3478"), addrPort("192.0.2.50:3478")},
			Tests:   Tests{Ports: true, Hairpin: true, Fragments: true, Lifetime: time.Minute},
		}, newPacer(now))
		m.start(now)
		var sent []action
		sockets, total := 0, 0
		act := func() {
			for list := m.actions(); len(list) > 0; list = m.actions() {
				for _, a := range list {
					switch a.kind {
					case actOpen:
						m.opened(a.sock, netip.AddrPortFrom(addr("192.168.1.2"), 40000+uint16(sockets)), nil)
						sockets++
					case actSend:
						total++
						sent = append(sent, a)
						own := a.to == m.m1.mapped() || a.to == m.f1.mapped()
						if ip := a.to.Addr(); ip.IsLoopback() || ip.IsMulticast() || ip.IsPrivate() && !own || a.to.Port() < 1024 {
							t.Fatalf("a packet to %s", a.to)
						}
					}
				}
			}
		}
		act()
		honest := false // an answer of the other address, as asked
		for len(script) >= 4 && !m.done() {
			which, from, wait, n := script[0], froms[int(script[1])%len(froms)], script[2], int(script[3])
			script = script[4:]
			n = min(n, len(script))
			b := append([]byte(nil), script[:n]...)
			script = script[n:]
			now = now.Add(time.Duration(wait) * ms)
			sock := int(which) % sockets
			if len(sent) > 0 && len(b) >= 20 && which < 200 {
				a := sent[int(which)%len(sent)]
				copy(b[4:20], a.data[4:20])
				sock = a.sock
				req, _ := message.Parse(a.data)
				honest = honest || req.ChangeIP && from.Addr() != a.to.Addr()
			}
			m.receive(now, sock, from, b)
			act()
			m.tick(now)
			act()
		}
		for range 10000 {
			at, ok := m.next()
			if !ok {
				break
			}
			m.tick(at)
			act()
		}
		if !m.done() {
			t.Fatal("the run does not end")
		}
		r := m.report()
		if total > MaxPackets || total != r.Packets.Sent {
			t.Fatalf("%d packets, reported %d", total, r.Packets.Sent)
		}
		if !honest && (r.Filtering == report.EndpointIndependent || r.Access == report.Open) {
			t.Fatalf("looks open: %+v", r)
		}
	})
}

// N-05: an answer costs at most 64 KiB of memory, whatever is in it.
func TestMemoryOfAnAnswer(t *testing.T) {
	m := newMachine(Config{Servers: []netip.AddrPort{addrPort("198.51.100.1:3478")}}, newPacer(begin))
	m.start(begin)
	var id []byte
	for _, a := range m.actions() {
		if a.kind == actSend && id == nil {
			id = a.data[4:20]
		}
	}
	// As many attributes as fit, each of length zero, and one of all there is.
	many := make([]byte, message.MaxSize)
	one := make([]byte, 1<<16-1)
	for _, b := range [][]byte{many, one} {
		copy(b, []byte{1, 1})
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)-20))
		copy(b[4:], id)
		const n = 100
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range n {
			m.receive(begin, 0, addrPort("198.51.100.1:3478"), b)
		}
		runtime.ReadMemStats(&after)
		if each := (after.TotalAlloc - before.TotalAlloc) / n; each > 64<<10 {
			t.Errorf("%d bytes of an answer take %d bytes of memory", len(b), each)
		}
	}
}
