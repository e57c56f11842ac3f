package upnp

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"shipworm/testnet/igd"
)

// outcome is what one attempt on a router comes to.
type outcome struct {
	via      Via           // 0: no mapping
	external string        // of the mapping; "" is 203.0.113.7:3545, "-" no address
	life     time.Duration // 0 is an hour, -1 for ever
	double   bool
	leaves   int // mappings that stay when ours was removed
}

// quirks has the outcome for every router of testnet/igd that does not come to
// nothing.
var quirks = map[string]outcome{
	"miniupnpd":             {via: ViaPCP},
	"igd1":                  {via: ViaUPnP},
	"igd2":                  {via: ViaUPnP},
	"upnp-only":             {via: ViaUPnP},
	"pcp-only":              {via: ViaPCP},
	"natpmp-only":           {via: ViaNATPMP},
	"pcp-and-natpmp":        {via: ViaPCP},
	"fritzbox-like":         {via: ViaPCP},
	"permanent-only":        {via: ViaUPnP, life: -1},
	"lease-402":             {via: ViaUPnP, life: -1},
	"lease-0-402":           {via: ViaUPnP},
	"short-leases":          {via: ViaUPnP, life: 2 * time.Second},
	"no-ports":              {via: ViaPCP},
	"delete-714":            {via: ViaUPnP, leaves: 1}, // it says that it has deleted
	"upper-case-only":       {via: ViaUPnP},
	"no-renewal":            {via: ViaUPnP},
	"no-replace":            {via: ViaUPnP},
	"remote-host-718":       {via: ViaUPnP},
	"overwrites":            {via: ViaUPnP},
	"deaf":                  {via: ViaPCP}, // nobody inside can tell
	"blind":                 {via: ViaPCP},
	"external-zero":         {via: ViaUPnP, external: "-"},
	"external-empty":        {via: ViaUPnP, external: "-"},
	"external-private":      {via: ViaUPnP, external: "192.168.178.20:3545", double: true},
	"external-loopback":     {via: ViaUPnP, external: "-"},
	"external-garbage":      {via: ViaUPnP, external: "-"},
	"status-up":             {via: ViaUPnP},
	"epoch-stuck":           {via: ViaPCP},
	"epoch-back":            {via: ViaPCP},
	"epoch-fast":            {via: ViaPCP},
	"spoofed-port":          {via: ViaPCP},
	"bad-option":            {via: ViaPCP},
	"lifetime-forever":      {via: ViaPCP, life: 24 * time.Hour},
	"pcp-external-loopback": {via: ViaPCP, external: "-"},
	"pmp-external-zero":     {via: ViaNATPMP, external: "-"},
	"other-port":            {via: ViaPCP, external: "203.0.113.7:18049"},
	"lossy":                 {via: ViaPCP},
	"slow":                  {via: ViaPCP},
	"twice":                 {via: ViaPCP},
	"silent-to-pcp":         {via: ViaNATPMP},
	"silent-to-natpmp":      {via: ViaPCP},
	"pcp-no-announce":       {via: ViaPCP},
	"silent-restart":        {via: ViaPCP},
	"silent-restart-natpmp": {via: ViaNATPMP},
	"silent-restart-upnp":   {via: ViaUPnP},

	"silent-restart-upnp-1.0": {via: ViaUPnP},

	"third-party":       {via: ViaPCP},
	"location-floating": {via: ViaUPnP},
	"search-other-port": {via: ViaUPnP},
	"parallel-searches": {via: ViaUPnP},
	"port-moves":        {via: ViaUPnP},
	"control-relative":  {via: ViaUPnP},
	"control-absolute":  {via: ViaUPnP},
	"url-base":          {via: ViaUPnP},
	"url-base-wrong":    {via: ViaUPnP},
	"legacy-urn":        {via: ViaUPnP},
	"ppp-only":          {via: ViaUPnP},
	"chunked":           {via: ViaUPnP},
	"hostile-name":      {via: ViaUPnP},
	// Answers that cannot be trusted are none; what the router did nonetheless
	// ends with its lease.
	"stranger-answers":    {leaves: 1},
	"wrong-nonce":         {leaves: 1},
	"wrong-protocol":      {leaves: 1},
	"wrong-internal-port": {leaves: 1},
	"wrong-opcode":        {leaves: 1},
	"no-response-bit":     {leaves: 1},
	"short-answer":        {leaves: 1},
	"one-byte-answer":     {leaves: 1},
	"long-answer":         {leaves: 1},
	"odd-answer":          {leaves: 1},
}

// U-01, U-02, U-03, U-04, U-06, U-08, U-12, U-16: every router that testnet/igd
// knows comes to its right end within three seconds, and nobody but the router
// is sent anything.
func TestQuirks(t *testing.T) {
	for _, p := range igd.Profiles() {
		t.Run(p.Name, func(t *testing.T) {
			bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
				at := gatewayAddr
				want := quirks[p.Name]
				if p.Beside {
					at = netip.MustParseAddr("192.168.1.50")
					want = outcome{via: ViaUPnP}
				}
				r := startAt(t, ctx, l, p.Name, at)
				m := newTestMapper(t, l, func(c *Config) { c.Journal = t.TempDir() })
				begin := time.Now()
				got, err := m.Add(ctx, udpRequest())
				if took := time.Since(begin); took > 3*time.Second {
					t.Errorf("took %v", took)
				}
				want.compare(t, got, err)
				if err == nil {
					if err := m.Delete(ctx, UDP, got.External.Port()); err != nil {
						t.Errorf("delete: %v", err)
					}
				}
				if left := r.Mappings(time.Now()); len(left) != want.leaves {
					t.Errorf("left %v", left)
				}
				strangers(t, l, at)
			})
		})
	}
	for name := range quirks {
		if _, ok := igd.Lookup(name); !ok {
			t.Errorf("%q is no router", name)
		}
	}
}

func (want outcome) compare(t *testing.T, got Mapping, err error) {
	t.Helper()
	if (err == nil) != (want.via != 0) || got.Via != want.via {
		t.Fatalf("%v: %+v, want via %v", err, got, want.via)
	}
	if err != nil {
		return
	}
	external := netip.AddrPortFrom(wanAddr, 3545)
	switch want.external {
	case "":
	case "-":
		external = netip.AddrPortFrom(netip.Addr{}, 3545)
	default:
		external = netip.MustParseAddrPort(want.external)
	}
	life := max(want.life, 0)
	if want.life == 0 {
		life = time.Hour
	}
	if got.External != external || got.Lifetime != life || got.DoubleNAT != want.double || got.Reachable() != (!want.double && want.external != "-") {
		t.Errorf("got %+v, want %v for %v", got, external, life)
	}
}

// strangers fails the test if anybody but the router and the multicast groups
// was sent anything.
func strangers(t *testing.T, l *lan, router netip.Addr) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, to := range l.dialed {
		if to.Addr() != router {
			t.Errorf("connected to %v", to)
		}
	}
	for _, to := range l.sent {
		if to.Addr() != gatewayAddr && to != igd.SearchGroup {
			t.Errorf("sent to %v", to)
		}
	}
}
