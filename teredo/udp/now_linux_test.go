package udp

import (
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"shipworm/teredo/packet"
)

// TestWriteNow: a datagram leaves at once or not at all: it waits neither for
// room nor for another writer.
func TestWriteNow(t *testing.T) {
	for name, kind := range map[string]int{"watched": 0, "busy": 6} {
		t.Run(name, func(t *testing.T) {
			s, r := open(t, kind).(*mmsgSocket), open(t, 0)
			var p packet.Packet
			p.Set([]byte("now"), r.LocalAddr())
			if !s.WriteNow(p) {
				t.Error("an idle socket")
			}
			collect(t, r, [][]byte{[]byte("now")})
			w := &s.writing
			send := w.now
			w.now = func(fd uintptr) bool { w.errno = unix.EAGAIN; return true }
			if s.WriteNow(p) {
				t.Error("sent without room")
			}
			w.now = func(fd uintptr) bool { w.errno = syscall.EPERM; return true }
			if !s.WriteNow(p) || s.Stats().WriteDrops != 1 {
				t.Errorf("what is refused: %+v", s.Stats())
			}
			p.Addr = netip.AddrPortFrom(netip.IPv6Loopback(), 1)
			if !s.WriteNow(p) || s.Stats().WriteDrops != 2 {
				t.Errorf("no IPv4: %+v", s.Stats())
			}
			p.Addr, w.now = r.LocalAddr(), send
			w.mu.Lock()
			if s.WriteNow(p) {
				t.Error("sent beside another writer")
			}
			w.mu.Unlock()
			s.Close()
			if s.WriteNow(p) {
				t.Error("sent by a closed socket")
			}
		})
	}
}
