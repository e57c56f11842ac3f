package igd

import (
	"net/netip"
	"time"
)

// announcements is how often a restart is told on port 5350, and the wait after
// the first, which doubles (RFC 6886, 3.2.1).
const (
	announcements = 10
	announceWait  = 250 * time.Millisecond
)

// Control takes a datagram that came to port 5351, and returns the answers.
func (r *Router) Control(now time.Time, from netip.AddrPort, b []byte) []Datagram {
	r.mu.Lock()
	defer r.mu.Unlock()
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	r.expire(now)
	r.counts.control++
	out := r.control(now, from, b)
	if len(out) == 0 {
		return nil
	}
	if r.counts.control <= r.q.dropFirst {
		return nil
	}
	answer := Datagram{Via: ViaControl, To: from, Payload: out, After: r.q.controlDelay}
	if r.q.spoil != nil {
		answer.Payload = r.q.spoil(append([]byte(nil), out...))
	}
	list := []Datagram{answer}
	if r.q.spoof != nil {
		forged := Datagram{Via: ViaStranger, To: from, Payload: r.q.spoof(append([]byte(nil), out...))}
		list = []Datagram{forged, answer}
	}
	if r.q.controlStranger {
		list[len(list)-1].Via = ViaStranger
	}
	if r.q.twice {
		list = append(list, answer)
	}
	return list
}

// control finds the protocol by the version (RFC 6887, 9 and appendix A).
func (r *Router) control(now time.Time, from netip.AddrPort, b []byte) []byte {
	if len(b) < 2 || b[1]&0x80 != 0 {
		return nil
	}
	version := b[0]
	switch {
	case version == 0 && !from.Addr().Is4():
		return nil // NAT-PMP is of IPv4 (RFC 6886, 1)
	case version == 0 && r.q.natpmp:
		return r.pmp(now, from, b)
	case version == pcpVersion && r.q.pcp:
		return r.pcp(now, from, b)
	}
	log := Request{Time: now, From: from, Protocol: PCP, Action: "version", Result: pcpUnsupportedVersion}
	if version == 0 {
		log.Protocol = NATPMP
	}
	r.record(log)
	switch {
	case r.q.versionMute:
		return nil
	case r.q.pcp:
		return r.pcpVersionError(now, from, b)
	case r.q.natpmp:
		return r.pmpVersionError(now)
	}
	return nil
}

// announce tells the LAN that the router is there and has lost its mappings.
func (r *Router) announce(now time.Time) []Datagram {
	var list []Datagram
	if r.q.silentRestart {
		return nil
	}
	if to := r.cfg.ControlGroup; to.IsValid() {
		var all [][]byte
		if r.q.pcp {
			// ANNOUNCE as an answer that nobody asked for (RFC 6887, 14.1.2).
			all = append(all, r.pcpHead(now, append([]byte{pcpVersion, 0x80}, make([]byte, pcpHeader-2)...), 0, 0))
		}
		if r.q.natpmp {
			b, _ := r.pmpExternal(now)
			all = append(all, b)
		}
		after := time.Duration(0)
		for i := range announcements {
			for _, b := range all {
				b = append([]byte(nil), b...)
				// Both protocols count seconds; what comes later says so.
				at := 4
				if b[0] == pcpVersion {
					at = 8
				}
				be.PutUint32(b[at:], r.epoch(now.Add(after)))
				list = append(list, Datagram{Via: ViaControl, To: to, Payload: b, After: after})
			}
			after += announceWait << i
			if r.q.announceOnce {
				break
			}
		}
	}
	return append(list, r.notify("ssdp:alive")...)
}
