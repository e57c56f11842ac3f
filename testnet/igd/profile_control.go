package igd

import (
	"net/netip"
	"time"
)

// controlFaults are routers that are wrong about NAT-PMP and PCP.
func controlFaults() []Profile {
	spoil := func(f func(b []byte) []byte) func(*quirks) { return func(q *quirks) { q.spoil = f } }
	pcp := func(code int) func(*quirks) { return func(q *quirks) { q.pcpError = code } }
	pmp := func(code int) func(*quirks) { return func(q *quirks) { q.pmpError = code } }
	// at changes a byte of answers that are long enough.
	at := func(offset int, flip byte) func(*quirks) {
		return spoil(func(b []byte) []byte {
			if offset < len(b) {
				b[offset] ^= flip
			}
			return b
		})
	}
	const nonce, protocol, internal = pcpHeader, pcpHeader + 12, pcpHeader + 17
	return []Profile{
		faulty("epoch-stuck", "Has lost its state at every answer: the epoch is always 1.", controlOnly(), func(q *quirks) { q.epochStuck = true }),
		faulty("epoch-back", "Counts the epoch back at every other answer.", controlOnly(), func(q *quirks) { q.epochBack = true }),
		faulty("epoch-fast", "Counts ten seconds of epoch a second.", controlOnly(), func(q *quirks) { q.epochFast = true }),
		faulty("spoofed-port", "Is overtaken by a stranger's answer from another port or address, with another external port.", controlOnly(), func(q *quirks) {
			q.spoof = forge
		}),
		faulty("stranger-answers", "Answers NAT-PMP and PCP from another port or address than was asked.", controlOnly(), func(q *quirks) { q.controlStranger = true }),
		faulty("wrong-nonce", "Answers with another nonce.", pcpOnly(), at(nonce, 0xff)),
		faulty("wrong-protocol", "Answers for another transport protocol.", pcpOnly(), at(protocol, 17^6)),
		faulty("wrong-internal-port", "Answers for another internal port.", pcpOnly(), at(internal, 1)),
		faulty("wrong-opcode", "Answers with another opcode.", controlOnly(), at(1, 3)),
		faulty("no-response-bit", "Answers without the bit that makes an answer.", controlOnly(), at(1, 0x80)),
		faulty("short-answer", "Cuts its answers in the middle.", controlOnly(), spoil(func(b []byte) []byte { return b[:len(b)/2] })),
		faulty("one-byte-answer", "Answers with a single byte.", controlOnly(), spoil(func(b []byte) []byte { return b[:1] })),
		faulty("long-answer", "Pads its answers to 1104 bytes, four more than PCP allows.", pcpOnly(), spoil(func(b []byte) []byte {
			return append(b, make([]byte, pcpMaxLen+4-len(b))...)
		})),
		faulty("odd-answer", "Answers with three bytes too many, which is no multiple of four.", pcpOnly(), spoil(func(b []byte) []byte { return append(b, 1, 2, 3) })),
		faulty("bad-option", "Adds an option to its answers that says it is longer than the packet.", pcpOnly(), spoil(func(b []byte) []byte {
			return append(b, 128, 0, 0xff, 0xff)
		})),
		faulty("lifetime-forever", "Gives a lifetime of 136 years, the most that can be said.", controlOnly(), spoil(lifetimeAs(1<<32-1))),
		faulty("lifetime-zero", "Says yes with a lifetime of 0.", controlOnly(), spoil(lifetimeAs(0))),
		faulty("external-port-zero", "Says yes with external port 0.", controlOnly(), spoil(func(b []byte) []byte {
			if b[0] == pcpVersion && len(b) >= pcpHeader+pcpMapBody {
				be.PutUint16(b[pcpHeader+18:], 0)
			} else if b[0] == 0 && len(b) == 16 {
				be.PutUint16(b[10:], 0)
			}
			return b
		})),
		faulty("pcp-external-loopback", "Says yes with the external address 127.0.0.1.", pcpOnly(), spoil(func(b []byte) []byte {
			if len(b) >= pcpHeader+pcpMapBody {
				copy(b[pcpHeader+32:], []byte{127, 0, 0, 1})
			}
			return b
		})),
		faulty("pmp-external-zero", "Gives 0.0.0.0 as its external address over NAT-PMP.", pmpOnly(), func(q *quirks) { q.pmpExternal = netip.IPv4Unspecified() }),
		faulty("other-port", "Never gives the external port that was suggested.", controlOnly(), func(q *quirks) { q.otherPort = true }),
		faulty("lossy", "Does not answer the first two requests.", controlOnly(), func(q *quirks) { q.dropFirst = 2 }),
		faulty("slow", "Answers NAT-PMP, PCP and searches after 1.5 s.", base(), func(q *quirks) {
			q.controlDelay, q.searchDelay = 1500*time.Millisecond, 1500*time.Millisecond
		}),
		faulty("twice", "Sends every answer twice.", controlOnly(), func(q *quirks) { q.twice = true }),
		faulty("silent-to-pcp", "Speaks NAT-PMP and does not answer PCP at all.", pmpOnly(), func(q *quirks) { q.versionMute = true }),
		faulty("silent-to-natpmp", "Speaks PCP and does not answer NAT-PMP at all.", pcpOnly(), func(q *quirks) { q.versionMute = true }),
		faulty("silent-restart", "Does not announce that it was restarted.", base(), func(q *quirks) { q.silentRestart = true }),
		faulty("pcp-no-announce", "Speaks PCP, answers ANNOUNCE with UNSUPP_OPCODE, and does not announce that it was restarted.", pcpOnly(), func(q *quirks) {
			q.silentRestart = true
			q.spoil = func(b []byte) []byte {
				if len(b) >= pcpHeader && b[1] == 0x80|pcpAnnounce {
					b[3] = pcpUnsupportedOpcode
				}
				return b
			}
		}),
		faulty("silent-restart-natpmp", "Speaks NAT-PMP only, and does not announce that it was restarted.", pmpOnly(), func(q *quirks) { q.silentRestart = true }),
		faulty("silent-restart-upnp", "Speaks UPnP only, and does not announce that it was restarted.", upnpOnly(), func(q *quirks) { q.silentRestart = true }),
		faulty("silent-restart-upnp-1.0", "Speaks UPnP only, of a time before BOOTID.UPNP.ORG, and does not announce that it was restarted.", upnpOnly(), func(q *quirks) {
			q.silentRestart, q.noBootID = true, true
		}),
		faulty("third-party", "Lets PCP clients map for others (THIRD_PARTY).", pcpOnly(), func(q *quirks) { q.thirdParty = true }),
		faulty("pcp-not-authorized", "Answers every PCP request with NOT_AUTHORIZED.", pcpOnly(), pcp(pcpNotAuthorized)),
		faulty("pcp-unsupported-opcode", "Answers every PCP request with UNSUPP_OPCODE.", pcpOnly(), pcp(pcpUnsupportedOpcode)),
		faulty("pcp-network-failure", "Answers every PCP request with NETWORK_FAILURE.", pcpOnly(), pcp(pcpNetworkFailure)),
		faulty("pcp-no-resources", "Answers every PCP request with NO_RESOURCES.", pcpOnly(), pcp(pcpNoResources)),
		faulty("pcp-user-quota", "Answers every PCP request with USER_EX_QUOTA.", pcpOnly(), pcp(10)),
		faulty("pcp-address-mismatch", "Answers every PCP request with ADDRESS_MISMATCH, as across a NAT.", pcpOnly(), pcp(pcpAddressMismatch)),
		faulty("pmp-not-authorized", "Answers every NAT-PMP request with result 2: port mapping is switched off.", pmpOnly(), pmp(pmpNotAuthorized)),
		faulty("pmp-network-failure", "Answers every NAT-PMP request with result 3: it has no address itself.", pmpOnly(), pmp(pmpNetworkFailure)),
		faulty("pmp-out-of-resources", "Answers every NAT-PMP request with result 4.", pmpOnly(), pmp(pmpOutOfResources)),
	}
}

// forge changes the external port of an answer, and its epoch so that whoever
// believes it will map anew for ever.
func forge(b []byte) []byte {
	switch {
	case b[0] == pcpVersion && len(b) >= pcpHeader+pcpMapBody:
		be.PutUint32(b[8:], 1<<30)
		be.PutUint16(b[pcpHeader+18:], 6666)
	case b[0] == 0 && len(b) == 16:
		be.PutUint32(b[4:], 1<<30)
		be.PutUint16(b[10:], 6666)
	}
	return b
}

// lifetimeAs sets the lifetime of answers that give one.
func lifetimeAs(seconds uint32) func([]byte) []byte {
	return func(b []byte) []byte {
		switch {
		case b[0] == pcpVersion && len(b) >= pcpHeader && b[3] == 0:
			be.PutUint32(b[4:], seconds)
		case b[0] == 0 && len(b) == 16:
			be.PutUint32(b[12:], seconds)
		}
		return b
	}
}
