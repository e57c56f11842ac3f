package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/netip"
	"strconv"
	"time"

	"shipworm/testnet/scenario"
	"shipworm/testnet/sim"
	"shipworm/upnp"
	"shipworm/upnp/natpmp"
	"shipworm/upnp/pcp"
)

// scenarioPortMap keeps a UDP port of its host open.
type scenarioPortMap struct{}

func (scenarioPortMap) Command(t *scenario.Task) ([]string, error) {
	// The user's journal is about the user's router.
	port := strconv.Itoa(int(t.Program.Port))
	return self("upnp", "add", port, "--external", port, "--keep", "--json", "--no-journal")
}

// Line reads a line of `upnp add --keep --json`.
func (scenarioPortMap) Line(t *scenario.Task, line string) {
	var m portMapLine
	if m.read(line) {
		t.Mapped(m.External)
	}
}

// portMapLine is what counts of a line; one that says lost has no External.
type portMapLine struct {
	Schema   int            `json:"schema"`
	External netip.AddrPort `json:"external"`
}

func (m *portMapLine) read(line string) bool {
	*m = portMapLine{}
	return json.Unmarshal([]byte(line), m) == nil && m.Schema == 1
}

// How long a request waits for its answer at first and at most, and how many
// unanswered ones make the program try the other protocol.
const (
	portMapWait    = 250 * time.Millisecond
	portMapMaxWait = 16 * time.Second
	portMapSwitch  = 3
)

func (scenarioPortMap) Simulate(t *scenario.Task) error {
	gateway := t.Program.Host.Behind.Lan.Addr().Next()
	m := &portMap{t: t, gateway: netip.AddrPortFrom(gateway, pcp.ServerPort)}
	binary.BigEndian.PutUint64(m.nonce[:], t.Seed)
	var err error
	if m.port, err = t.Node.BindUDP(0, m.receive); err != nil {
		return err
	}
	// Of several programs on a host one hears of a router's restart, as the
	// others would if ports could be shared; they notice with their renewal.
	_, _ = t.Node.BindUDP(pcp.ClientPort, func(_ time.Time, from netip.AddrPort, _ []byte) {
		if from == m.gateway {
			m.begin()
		}
	})
	m.begin()
	return nil
}

// portMap keeps a port open in virtual time as upnp.Mapper.Keep does on the real
// clock, but for UPnP, which needs TCP: by PCP, or where the router does not
// know that, NAT-PMP.
type portMap struct {
	t       *scenario.Task
	port    *sim.UDPPort
	gateway netip.AddrPort
	nonce   pcp.Nonce
	old     bool           // NAT-PMP is spoken
	address netip.Addr     // what NAT-PMP said
	mapped  netip.AddrPort // what was reported
	wait    time.Duration
	tries   int
	turn    int // a timer of an earlier turn is void
}

func (m *portMap) begin() {
	m.wait, m.tries = portMapWait, 0
	m.ask()
}

func (m *portMap) ask() {
	if m.old {
		address, mapping := natpmp.Request{Op: natpmp.Address}, m.oldRequest()
		_ = m.port.SendTo(m.gateway, address.Append(nil)) // as lossy as UDP is
		_ = m.port.SendTo(m.gateway, mapping.Append(nil))
	} else {
		q := m.request()
		_ = m.port.SendTo(m.gateway, q.Append(nil))
	}
	m.later(m.wait, func() {
		m.wait = min(2*m.wait, portMapMaxWait)
		if m.tries++; m.tries%portMapSwitch == 0 {
			m.old = !m.old
		}
		m.ask()
	})
}

func (m *portMap) request() pcp.Request {
	return pcp.Request{Op: pcp.Map, Lifetime: upnp.DefaultLease, Client: m.t.Node.Addr(), Mapping: pcp.Mapping{
		Nonce: m.nonce, Protocol: pcp.UDP, Internal: m.t.Program.Port,
		External: netip.AddrPortFrom(netip.IPv4Unspecified(), m.t.Program.Port),
	}}
}

func (m *portMap) oldRequest() natpmp.Request {
	return natpmp.Request{Op: natpmp.MapUDP, Internal: m.t.Program.Port, External: m.t.Program.Port, Lifetime: upnp.DefaultLease}
}

// later calls f after a time, unless something else was planned since.
func (m *portMap) later(d time.Duration, f func()) {
	m.turn++
	turn := m.turn
	m.t.World.At(m.t.World.Now().Add(d), func() {
		if m.turn == turn {
			f()
		}
	})
}

func (m *portMap) receive(_ time.Time, from netip.AddrPort, b []byte) {
	if from != m.gateway {
		return
	}
	if m.old {
		m.receiveOld(b)
		return
	}
	q := m.request()
	r, err := pcp.ParseResponse(b)
	var version *pcp.VersionError
	switch {
	case errors.As(err, &version):
		m.old = true
		m.begin()
	case err != nil || !r.Answers(&q):
	case r.Result != pcp.Success:
		m.t.Note("refused by PCP: " + r.Result.String())
	default:
		m.done(r.Mapping.External, r.Lifetime)
	}
}

func (m *portMap) receiveOld(b []byte) {
	address, mapping := natpmp.Request{Op: natpmp.Address}, m.oldRequest()
	r, err := natpmp.ParseResponse(b)
	switch {
	case err != nil || !r.Answers(&address) && !r.Answers(&mapping):
	case r.Result != natpmp.Success:
		m.t.Note("refused by NAT-PMP: " + r.Result.String())
	case r.Answers(&address):
		m.address = r.Addr
	default:
		m.done(netip.AddrPortFrom(m.address, r.External), r.Lifetime)
	}
}

// done takes a mapping, and renews it at half its time.
func (m *portMap) done(external netip.AddrPort, lifetime time.Duration) {
	if !external.IsValid() || external.Port() == 0 || lifetime <= 0 {
		return // no mapping; asking goes on
	}
	m.t.Note("")
	if external != m.mapped {
		m.mapped = external
		m.t.Mapped(external)
	}
	m.later(max(lifetime/2, time.Second), m.begin)
}
