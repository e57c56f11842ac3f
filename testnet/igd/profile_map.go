package igd

import "time"

// mapFaults are routers that are wrong about mappings over UPnP.
func mapFaults() []Profile {
	add := func(code int) func(*quirks) { return func(q *quirks) { q.addError = code } }
	address := func(s string) func(*quirks) { return func(q *quirks) { q.externalIP = &s } }
	return []Profile{
		faulty("permanent-only", "Answers a lease above 0 with 725 OnlyPermanentLeasesSupported, and keeps mappings for ever.", upnpOnly(), func(q *quirks) {
			q.version, q.leaseError = 1, upnpPermanentOnly
		}),
		faulty("lease-402", "Answers a lease above 0 with 402 Invalid Args, and keeps mappings for ever.", upnpOnly(), func(q *quirks) {
			q.version, q.leaseError = 1, upnpInvalidArgs
		}),
		faulty("lease-0-402", "Answers lease 0 with 402 Invalid Args.", upnpOnly(), func(q *quirks) { q.permanentError = upnpInvalidArgs }),
		faulty("short-leases", "Gives two seconds, whatever was asked.", upnpOnly(), func(q *quirks) { q.maxLease = 2 * time.Second }),
		faulty("conflict", "Answers every AddPortMapping with 718 ConflictInMappingEntry.", upnpOnly(), add(upnpConflict)),
		faulty("not-authorized", "Answers every AddPortMapping with 606 Action not authorized.", upnpOnly(), add(upnpNotAuthorized)),
		faulty("action-failed", "Answers every AddPortMapping with 501 Action Failed.", upnpOnly(), add(upnpActionFailed)),
		faulty("wildcard-716", "Answers every AddPortMapping with 716 WildCardNotPermittedInExtPort.", upnpOnly(), add(upnpWildExternal)),
		faulty("wildcard-727", "Answers every AddPortMapping with 727 ExternalPortOnlySupportsWildcard.", upnpOnly(), add(upnpPortsWildcard)),
		faulty("no-ports", "Has room for one mapping, and refuses more with 728 and NO_RESOURCES.", base(), func(q *quirks) { q.maxMappings = 1 }),
		faulty("delete-714", "Answers every DeletePortMapping with 714 NoSuchEntryInArray and keeps the mapping.", upnpOnly(), func(q *quirks) { q.keeps = true }),
		faulty("upper-case-only", "Knows the protocols as TCP and UDP, and answers tcp and udp with 402.", upnpOnly(), func(q *quirks) { q.upperOnly = true }),
		faulty("no-renewal", "Answers a renewal with success and does not extend the lease.", upnpOnly(), func(q *quirks) { q.noRenewal = true }),
		faulty("no-replace", "Answers 718 when a client's mapping is to lead to another of its ports.", upnpOnly(), func(q *quirks) { q.noReplace = true }),
		faulty("remote-host-718", "Answers the renewal of a mapping that has a RemoteHost with 718.", upnpOnly(), func(q *quirks) { q.remoteConflict = true }),
		faulty("overwrites", "Hands a mapping of one client to the next who asks for its port.", upnpOnly(), func(q *quirks) { q.overwrites, q.secureError = true, 0 }),
		faulty("deaf", "Says yes to every mapping and opens nothing.", base(), func(q *quirks) { q.deaf = true }),
		faulty("blind", "Says yes although a forward of its owner has the port, which keeps it.", base(), func(q *quirks) { q.blind = true }),
		faulty("external-zero", "Gives 0.0.0.0 as its external address.", upnpOnly(), address("0.0.0.0")),
		faulty("external-empty", "Gives an empty external address.", upnpOnly(), address("")),
		faulty("external-private", "Gives a private external address, as behind another NAT.", upnpOnly(), address("192.168.178.20")),
		faulty("external-loopback", "Gives 127.0.0.1 as its external address.", upnpOnly(), address("127.0.0.1")),
		faulty("external-garbage", "Gives an escape sequence as its external address.", upnpOnly(), address("\u009b31mown3d")),
		faulty("disconnected", "Says that its uplink is Disconnected.", upnpOnly(), func(q *quirks) { q.status = "Disconnected" }),
		faulty("status-up", "Says that its uplink is Up, a word that no standard has.", upnpOnly(), func(q *quirks) { q.status = "Up" }),
		{Name: "not-the-gateway", Faulty: true, Beside: true, quirks: func() quirks { q := base(); q.deaf = true; return q }(),
			Description: "Says that it is a NAT and yes to every mapping, but is another machine of the LAN."},
	}
}
