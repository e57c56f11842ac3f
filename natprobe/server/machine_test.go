package server

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"shipworm/natprobe/message"
)

var (
	a1     = netip.MustParseAddr("198.51.100.1")
	a2     = netip.MustParseAddr("198.51.100.2")
	client = netip.MustParseAddrPort("203.0.113.7:40000")
	began  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

func at(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

var same = cmp.Options{cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmpopts.EquateEmpty()}

func machine(t testing.TB, c Config) *Machine {
	t.Helper()
	m, err := NewMachine(c, began)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func two(t testing.TB) *Machine { return machine(t, Config{Listen: []netip.Addr{a1, a2}}) }

func classic() message.ID { return message.ID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16} }

// ask returns the answer to a request, or nil.
func ask(t testing.TB, m *Machine, now time.Time, on Socket, from netip.AddrPort, req message.Message) (Packet, *message.Message) {
	t.Helper()
	p, ok := m.Receive(now, on, from, req.Append(nil))
	if !ok {
		return Packet{}, nil
	}
	if p.From == PeerSocket {
		return p, nil
	}
	ans, err := message.Parse(p.Data)
	if err != nil || ans.ID != req.ID {
		t.Fatalf("answer %+v, %v", ans, err)
	}
	return p, &ans
}

// TestAnswers is the table of RFC 5780, 6.1 (figure 1) for all four sockets
// and flags, in the words of both RFCs.
func TestAnswers(t *testing.T) {
	addrs, ports := []netip.Addr{a1, a2}, []uint16{DefaultPort, DefaultOtherPort}
	for i := range 2 {
		for j := range 2 {
			for flags := range 4 {
				ip, port := flags&2 != 0, flags&1 != 0
				for _, id := range []message.ID{message.NewID(), classic()} {
					on := Socket(i)*OtherAddress | Socket(j)*OtherPort
					t.Run(fmt.Sprintf("%s:%d change IP %v port %v old %v", addrs[i], ports[j], ip, port, id.Classic()), func(t *testing.T) {
						p, got := ask(t, two(t), began, on, client, message.Message{ID: id, ChangeIP: ip, ChangePort: port})
						if got == nil {
							t.Fatal("no answer")
						}
						oi, oj := i, j
						if ip {
							oi = 1 - i
						}
						if port {
							oj = 1 - j
						}
						want := message.Message{
							Class: message.Success, ID: id, Mapped: client, XORMapped: client, Old: id.Classic(),
							Origin: at(addrs[oi], ports[oj]), Other: at(addrs[1-i], ports[1-j]),
						}
						if id.Classic() {
							want.XORMapped = netip.AddrPort{}
						}
						if d := cmp.Diff(want, *got, same); d != "" {
							t.Error(d)
						}
						if from := Socket(oi)*OtherAddress | Socket(oj)*OtherPort; p.From != from || p.To != client {
							t.Errorf("from socket %d to %v, want %d to %v", p.From, p.To, from, client)
						}
					})
				}
			}
		}
	}
}

// TestRefusals: RFC 5780, 6.1 and RFC 8489, 6.3.1.
func TestRefusals(t *testing.T) {
	id := message.NewID()
	unknown := func(m message.Message) []byte {
		b := append(m.Append(nil), 0x7f, 0x01, 0, 0)
		b[3] += 4
		return b
	}
	responseAddress := append(append([]byte(nil), 0, 1, 0, 12), append(id[:], 0, 2, 0, 8, 0, 1, 0x0d, 0x96, 192, 0, 2, 1)...)
	for _, c := range []struct {
		name    string
		single  bool
		req     []byte
		code    int
		unknown []uint16
	}{
		{"one address, change IP", true, (&message.Message{ID: id, ChangeIP: true}).Append(nil), 420, []uint16{3}},
		{"one address, change port", true, (&message.Message{ID: id, ChangePort: true}).Append(nil), 420, []uint16{3}},
		{"unknown attribute", false, unknown(message.Message{ID: id}), 420, []uint16{0x7f01}},
		{"unknown attribute, RFC 3489", false, unknown(message.Message{ID: classic()}), 420, []uint16{0x7f01}},
		{"RESPONSE-ADDRESS", false, responseAddress, 420, []uint16{2}},
		{"RESPONSE-PORT with PADDING", false, (&message.Message{ID: id, ResponsePort: 4000, Padding: 100}).Append(nil), 400, nil},
		{"RESPONSE-PORT of a service", false, (&message.Message{ID: id, ResponsePort: 53}).Append(nil), 400, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := two(t)
			if c.single {
				m = machine(t, Config{Listen: []netip.Addr{a1}})
			}
			p, ok := m.Receive(began, 0, client, c.req)
			if !ok {
				t.Fatal("no answer")
			}
			got, err := message.Parse(p.Data)
			if err != nil || got.Class != message.Error || got.Code != c.code || !cmp.Equal(got.Unknown, c.unknown, same) || p.From != 0 || p.To != client {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func TestOneAddress(t *testing.T) {
	_, got := ask(t, machine(t, Config{Listen: []netip.Addr{a1}}), began, 0, client, message.Message{ID: message.NewID()})
	if got == nil || got.Reflexive() != client || got.Other.IsValid() {
		t.Errorf("%+v", got)
	}
}

func TestResponsePortAndPadding(t *testing.T) {
	p, got := ask(t, two(t), began, 0, client, message.Message{ID: message.NewID(), ResponsePort: 4000})
	if got == nil || p.To != at(client.Addr(), 4000) || got.Mapped != client {
		t.Errorf("%+v to %v", got, p.To)
	}
	for _, c := range [][2]int{{4, 4}, {1500, 1500}, {9000, maxPadding}} {
		req := message.Message{ID: message.NewID(), Padding: c[0]}
		if _, got := ask(t, two(t), began, 0, client, req); got == nil || got.Padding != c[1] {
			t.Errorf("padding %d: %+v", c[0], got)
		}
	}
}

func TestIgnores(t *testing.T) {
	id := message.NewID()
	plain := (&message.Message{ID: id}).Append(nil)
	for name, c := range map[string]struct {
		from netip.AddrPort
		b    []byte
	}{
		"answer":       {client, (&message.Message{Class: message.Success, ID: id, Mapped: client}).Append(nil)},
		"error":        {client, (&message.Message{Class: message.Error, ID: id, Code: 400}).Append(nil)},
		"indication":   {client, (&message.Message{Class: message.Indication, ID: id}).Append(nil)},
		"not STUN":     {client, []byte("GET / HTTP/1.0\r\n\r\n012345678")},
		"nothing":      {client, nil},
		"port 0":       {at(client.Addr(), 0), plain},
		"multicast":    {netip.MustParseAddrPort("224.0.0.1:1"), plain},
		"broadcast":    {netip.MustParseAddrPort("255.255.255.255:1"), plain},
		"unspecified":  {netip.MustParseAddrPort("0.0.0.0:1"), plain},
		"other family": {netip.MustParseAddrPort("[2001:db8::1]:1"), plain},
	} {
		m := two(t)
		if p, ok := m.Receive(began, 0, c.from, c.b); ok || m.Counters().Ignored != 1 {
			t.Errorf("%s: %+v, %+v", name, p, m.Counters())
		}
	}
}

// TestAmplification: what the package comment promises, over random requests.
func TestAmplification(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	const headers = 28
	m := two(t)
	for i := range 20000 {
		req := message.Message{ID: message.NewID(), ChangeIP: r.IntN(2) == 0, ChangePort: r.IntN(2) == 0}
		if r.IntN(2) == 0 {
			req.ID = classic()
		}
		switch r.IntN(3) {
		case 0:
			req.Padding = r.IntN(3000)
		case 1:
			req.ResponsePort = uint16(r.IntN(65536))
		}
		in := req.Append(nil)
		p, ok := m.Receive(began.Add(time.Duration(i)*time.Second), Socket(r.IntN(4)), client, in)
		if !ok {
			t.Fatalf("no answer to %+v", req)
		}
		if p.To.Addr() != client.Addr() || p.To.Port() < 1024 {
			t.Fatalf("an answer to %v", p.To)
		}
		if f, w := float64(len(p.Data))/float64(len(in)), float64(len(p.Data)+headers)/float64(len(in)+headers); f > 3.4 || w > 2 {
			t.Fatalf("factor %.2f, with headers %.2f, for %+v", f, w, req)
		}
	}
}

// TestRates: one endpoint, one address and one IPv6 network get what they are
// allowed, and others are not affected.
func TestRates(t *testing.T) {
	v6 := []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")}
	for _, c := range []struct {
		name   string
		listen []netip.Addr
		from   func(i int) netip.AddrPort
		want   int // in the first second and in the ten after
	}{
		{"endpoint", []netip.Addr{a1, a2}, func(int) netip.AddrPort { return client }, 40 + 10*20},
		{"address", []netip.Addr{a1, a2}, func(i int) netip.AddrPort { return at(client.Addr(), uint16(1024+i%60000)) }, 400 + 10*200},
		{"IPv6 network", v6, func(i int) netip.AddrPort {
			return at(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 8: byte(i >> 8), 9: byte(i)}), 4000)
		}, 400 + 10*200},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := machine(t, Config{Listen: c.listen})
			req := (&message.Message{ID: message.NewID()}).Append(nil)
			got := 0
			const rate = 1000
			for i := range 10 * rate {
				if _, ok := m.Receive(began.Add(time.Duration(i)*time.Second/rate), 0, c.from(i), req); ok {
					got++
				}
			}
			if got < c.want*98/100 || got > c.want*102/100 {
				t.Errorf("%d answers in 10 s, want %d", got, c.want)
			}
			// One may have the bucket of the busy one, but not several.
			others := 0
			for i := range byte(10) {
				other := netip.AddrFrom4([4]byte{192, 0, 2, i})
				if c.listen[0].Is6() {
					other = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 7: i + 1}) // of a network of its own
				}
				if _, ok := m.Receive(began.Add(10*time.Second), 0, at(other, 999), req); ok {
					others++
				}
			}
			if others < 8 {
				t.Errorf("%d of 10 others are answered", others)
			}
		})
	}
}

// TestFloodLeavesRoom: 200,000 forged sources a second, and an honest client
// is still answered.
func TestFloodLeavesRoom(t *testing.T) {
	m := two(t)
	req := (&message.Message{ID: message.NewID()}).Append(nil)
	r := rand.New(rand.NewPCG(2, 2))
	asked, answered := 0, 0
	for i := range 400_000 {
		now := began.Add(time.Duration(i) * 5 * time.Microsecond)
		m.Receive(now, 0, at(netip.AddrFrom4([4]byte{byte(r.IntN(200) + 1), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())}), 4000), req)
		if i%20_000 == 0 {
			asked++
			if _, ok := m.Receive(now, 0, client, req); ok {
				answered++
			}
		}
	}
	if answered < asked {
		t.Errorf("%d of %d honest requests answered", answered, asked)
	}
}

func TestConfigProblems(t *testing.T) {
	key := bytes.Repeat([]byte{1}, MinKey)
	v6 := netip.MustParseAddr("2001:db8::1")
	for _, c := range []struct {
		name string
		cfg  Config
		want []string
	}{
		{"nothing", Config{}, []string{"0 addresses"}},
		{"three", Config{Listen: []netip.Addr{a1, a2, client.Addr()}}, []string{"3 addresses"}},
		{"twice", Config{Listen: []netip.Addr{a1, a1}}, []string{"twice"}},
		{"families", Config{Listen: []netip.Addr{a1, v6}}, []string{"two families"}},
		{"one port", Config{Listen: []netip.Addr{a1}, Port: 5, OtherPort: 5}, []string{"both ports"}},
		{"wildcard", Config{Listen: []netip.Addr{netip.IPv4Unspecified()}}, []string{"0.0.0.0"}},
		{"public", Config{Listen: []netip.Addr{a1, a2}, Public: []netip.Addr{a1}}, []string{"1 public addresses for 2"}},
		{"peer", Config{Listen: []netip.Addr{a1, a2}, Peer: &Peer{Key: key[1:], Port: DefaultPort}},
			[]string{"a peer, and yet two", "15 bytes", "no address of the peer", "the port for the peer"}},
		{"rate", Config{Listen: []netip.Addr{a1}, AddressRate: -1}, []string{"negative"}},
	} {
		_, err := NewMachine(c.cfg, began)
		for _, w := range c.want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, want %q", c.name, err, w)
			}
		}
	}
}
