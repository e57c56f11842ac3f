package teredo

import (
	"net/netip"
	"runtime"
	"testing"

	"shipworm/teredo/packet"
	"shipworm/teredo/udp"
)

// Plain is an off switch: neither client nor relay hears of runs then, which
// they do otherwise.
func TestPlain(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there are no runs here")
	}
	for _, plain := range []bool{false, true} {
		c := &Client{cfg: ClientConfig{Plain: plain}}
		s, err := c.listen(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		r, err := NewRelay(RelayConfig{
			Open: opens(newMemory()), Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8::/64")}, Workers: 1,
			Local: netip.MustParseAddrPort("127.0.0.1:0"), Plain: plain,
		})
		if err != nil {
			t.Fatal(err)
		}
		v := &relaying{r: r, served: r.cfg.Prefixes}
		if err := v.open(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer closeAll(v.sockets)
		for name, s := range map[string]udp.Socket{"client": s, "relay": v.socket} {
			from, err := udp.Listen(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"), udp.Config{})
			if err != nil {
				t.Fatal(err)
			}
			defer from.Close()
			out := make([]packet.Packet, 1)
			out[0].Set(make([]byte, 4000), netip.AddrPortFrom(from.LocalAddr().Addr(), s.LocalAddr().Port()))
			out[0].Segment = 1000
			if n, err := from.WriteBatch(out); n != 4 || err != nil {
				t.Fatal(n, err)
			}
			in := packet.NewBatch(8, packet.RunSize)
			if _, err := s.ReadBatch(in); err != nil || (in[0].Segment > 0) == plain {
				t.Errorf("%s, plain %v: %d bytes in segments of %d, %v", name, plain, in[0].Len, in[0].Segment, err)
			}
		}
	}
}
