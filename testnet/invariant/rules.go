package invariant

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"net/netip"
	"strings"
	"time"

	"shipworm/testnet/internal/ip"
	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/sim"
)

// checksums reports packets whose IP header is malformed, or whose header, UDP,
// TCP or ICMP checksum is wrong, unless a line flipped a bit in them.
func checksums(unfinished func() bool, report func(sim.Transit)) func(sim.Transit) {
	return func(t sim.Transit) {
		if t.Forged || t.Corrupted || unfinished != nil && unfinished() {
			return
		}
		if !ip.ChecksumsOK(t.Packet) {
			report(t)
		}
	}
}

// What timeToLive remembers at least: so many packets, or those of so long.
const (
	pathWindow = 1 << 16
	pathTime   = 10 * time.Minute
)

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// timeToLive reports packets that crossed a router without losing of their
// time to live, or gained on the way. Between a line up and a line down of the
// same network there is no router.
func timeToLive(report func(sim.Transit)) func(sim.Transit) {
	type step struct {
		ttl byte
		up  bool
	}
	// By packet and offset: fragments travel on their own.
	recent, old := map[uint64]step{}, map[uint64]step{}
	var since time.Time
	return func(t sim.Transit) {
		if t.Forged || t.Duplicate {
			return
		}
		h, ok := ip.Parse(t.Packet)
		if !ok || h.Dst.IsMulticast() || h.Dst == broadcast {
			return // a multicast is on several lines at once
		}
		k, now := t.ID<<16|uint64(h.Offset), step{h.TTL, t.Up}
		before, known := recent[k]
		if !known {
			before, known = old[k]
		}
		if known && (now.ttl > before.ttl || now.ttl == before.ttl && now.up == before.up) {
			report(t)
		}
		if len(recent) >= pathWindow || t.Time.Sub(since) >= pathTime {
			recent, old, since = map[uint64]step{}, recent, t.Time
		}
		recent[k] = now
	}
}

// denied reports UDP datagrams that a node sends towards its network for a
// denied address. On the way down to a private host they are at home.
func denied(prefixes []netip.Prefix, allow func(sim.Transit) bool, report func(sim.Transit)) func(sim.Transit) {
	return func(t sim.Transit) {
		if t.Forged || !t.Up {
			return
		}
		h, ok := ip.Parse(t.Packet)
		if !ok || h.Proto != ipv4.UDP {
			return
		}
		for _, p := range prefixes {
			if p.Contains(h.Dst) {
				if allow == nil || !allow(t) {
					report(t)
				}
				return
			}
		}
	}
}

// factor reports the packets of a node beyond its share of what came to it:
// what its line loses does not count, what its line doubles counts twice.
func factor(limits map[string]float64, report func(sim.Transit)) func(sim.Transit) {
	type account struct{ limit, in, out float64 }
	nodes := map[string]*account{}
	for name, limit := range limits {
		nodes[name] = &account{limit: limit}
	}
	return func(t sim.Transit) {
		slash := strings.LastIndexByte(t.Line, '/')
		a := nodes[t.Line[:max(slash, 0)]]
		if a == nil || t.Up && t.Forged {
			return
		}
		h, ok := ip.Parse(t.Packet)
		if !ok || h.Proto != ipv4.UDP {
			return
		}
		size := len(h.Body)
		if h.Offset == 0 {
			size -= 8
		}
		if !t.Up {
			a.in += float64(size * t.Copies)
			return
		}
		if a.out += float64(size); a.out > a.limit*a.in {
			report(t)
		}
	}
}

// minCanary keeps accidents out: 8 random bytes do not occur by chance.
const minCanary = 8

// canaries reports packets in which a secret can be read. A canary that is too
// short is found in every packet, so that nobody relies on it.
func canaries(secrets [][]byte, report func(sim.Transit)) func(sim.Transit) {
	var forms [][]byte
	for _, s := range secrets {
		if len(s) < minCanary {
			return report
		}
		x := hex.EncodeToString(s)
		forms = append(forms, bytes.Clone(s), []byte(x), []byte(strings.ToUpper(x)))
		// Inside a longer text base64 has three alignments. What depends on
		// the bytes before and behind is cut off.
		for lead := range 3 {
			padded := append(make([]byte, lead), s...)
			first, last := (lead*8+5)/6, len(padded)*8/6
			forms = append(forms,
				[]byte(base64.RawStdEncoding.EncodeToString(padded)[first:last]),
				[]byte(base64.RawURLEncoding.EncodeToString(padded)[first:last]))
		}
	}
	return func(t sim.Transit) {
		for _, f := range forms {
			if bytes.Contains(t.Packet, f) {
				report(t)
				return
			}
		}
	}
}
