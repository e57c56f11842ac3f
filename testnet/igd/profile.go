package igd

import (
	"net/netip"
	"slices"
	"time"
)

// A Profile is how a router behaves.
type Profile struct {
	Name        string
	Description string // one sentence
	Faulty      bool   // no client can be expected to like it
	// NATPMP, PCP and UPnP tell which protocols it speaks.
	NATPMP, PCP, UPnP bool
	// Beside tells that it has another address than the gateway of its LAN.
	Beside bool

	quirks quirks
}

// quirks are the knobs of a router. The zero value speaks no protocol.
type quirks struct {
	natpmp, pcp, upnp bool

	// Leases and table.
	minLife, maxLife time.Duration // of NAT-PMP and PCP
	maxLease         time.Duration // of UPnP
	maxMappings      int
	refusePrivate    bool // NAT-PMP and PCP refuse while the external address is private
	deaf             bool // says yes and opens nothing
	blind            bool // says yes although the NAT says no
	otherPort        bool // NAT-PMP and PCP never give the suggested port

	// NAT-PMP and PCP.
	pmpError, pcpError          int
	pmpExternal                 netip.Addr
	anyNonce, ignorePrefer      bool
	deleteSome                  bool // PCP has nothing to delete, and says NO_RESOURCES
	thirdParty                  bool
	versionMute                 bool // does not answer the other protocol
	epochStuck, epochFast       bool
	epochBack                   bool
	dropFirst                   int
	controlDelay                time.Duration
	spoil, spoof                func([]byte) []byte
	controlStranger, twice      bool
	announceOnce, silentRestart bool

	// SSDP.
	location       string // a form of the URL: see fill
	searchStranger bool
	wrongTarget    bool
	copies         int
	crowd          time.Duration // a search sooner after the last is not answered
	searchDelay    time.Duration
	padding        string // more header lines
	portMoves      bool   // of the web server, at a reboot
	noBootID       bool

	// Description.
	version             int // of IGD
	domain              string
	ppp, both           bool
	noFirewall          bool
	urlBase, controlURL string
	dtd, friendlyName   string
	redirect            string
	descriptionStatus   int
	descriptionFault    fault
	controlFault        fault
	emptyDescription    bool
	faultStatus         int

	// UPnP actions.
	addError                   int // of every AddPortMapping
	leaseError, permanentError int // for a lease above 0; for 0
	secureError                int // for another internal client; 0 = allowed
	highOnly, upperOnly        bool
	noRenewal, noReplace       bool
	remoteConflict             bool
	overwrites                 bool // of other clients' mappings too
	deleteAnything, keeps      bool
	externalIP                 *string
	status                     string
}

// Lookup returns the profile of that name.
func Lookup(name string) (Profile, bool) {
	for _, p := range Profiles() {
		if p.Name == name {
			return p, true
		}
	}
	return Profile{}, false
}

// Profiles returns all profiles, the sound ones first.
func Profiles() []Profile {
	list := slices.Concat(wellBehaved(), mapFaults(), controlFaults(), searchFaults(), webFaults())
	for i := range list {
		q := list[i].quirks
		list[i].NATPMP, list[i].PCP, list[i].UPnP = q.natpmp, q.pcp, q.upnp
	}
	return list
}

// base is miniupnpd 2.3.1 as measured, on which the faults are grafted.
func base() quirks {
	return quirks{
		natpmp: true, pcp: true, upnp: true,
		minLife: 5 * time.Second, maxLife: 24 * time.Hour,
		refusePrivate: true, anyNonce: true, ignorePrefer: true, announceOnce: true, deleteSome: true,
		version: 2, secureError: upnpConflict, highOnly: true, deleteAnything: true,
	}
}

// upnpOnly is base without NAT-PMP and PCP, so that a client must cope with
// the fault and cannot go another way.
func upnpOnly() quirks {
	q := base()
	q.natpmp, q.pcp = false, false
	return q
}

// pcpOnly is a server of PCP that keeps to RFC 6887.
func pcpOnly() quirks {
	return quirks{pcp: true, minLife: 2 * time.Minute, maxLife: 24 * time.Hour}
}

// pmpOnly is a server of NAT-PMP that keeps to RFC 6886.
func pmpOnly() quirks {
	return quirks{natpmp: true, minLife: time.Second, maxLife: 24 * time.Hour}
}

// controlOnly speaks NAT-PMP and PCP.
func controlOnly() quirks {
	q := pcpOnly()
	q.natpmp, q.minLife = true, 5*time.Second
	return q
}

// faulty makes a profile from a base and a change.
func faulty(name, description string, q quirks, change func(*quirks)) Profile {
	change(&q)
	return Profile{Name: name, Description: description, Faulty: true, quirks: q}
}

func wellBehaved() []Profile {
	igd1 := upnpOnly()
	igd1.version, igd1.secureError, igd1.highOnly, igd1.deleteAnything = 1, 0, false, false
	igd2 := upnpOnly()
	igd2.secureError, igd2.deleteAnything = upnpNotAuthorized, false
	fritz := base()
	fritz.natpmp, fritz.ppp, fritz.both, fritz.crowd = false, true, true, 250*time.Millisecond
	fritz.maxLease, fritz.secureError, fritz.deleteAnything, fritz.noReplace = time.Hour, upnpNotAuthorized, false, true
	fritz.anyNonce, fritz.ignorePrefer, fritz.deleteSome, fritz.minLife = false, false, false, 2*time.Minute
	apple := pmpOnly()
	apple.minLife = time.Second
	return []Profile{
		{Name: "miniupnpd", Description: "Speaks NAT-PMP, PCP and IGD:2 with the answers of miniupnpd 2.3.1, the daemon of OpenWrt and many home routers.", quirks: base()},
		{Name: "igd1", Description: "Speaks IGD:1 only: leases may be permanent, and any client may map for any other.", quirks: igd1},
		{Name: "igd2", Description: "Speaks IGD:2 only: leases end within a week, and each client maps for itself.", quirks: igd2},
		{Name: "upnp-only", Description: "Is miniupnpd with NAT-PMP and PCP switched off.", quirks: upnpOnly()},
		{Name: "pcp-only", Description: "Speaks PCP as RFC 6887 has it, and answers NAT-PMP with its version error.", quirks: pcpOnly()},
		{Name: "natpmp-only", Description: "Speaks NAT-PMP as RFC 6886 has it, and answers PCP with its version error.", quirks: apple},
		{Name: "pcp-and-natpmp", Description: "Speaks PCP and NAT-PMP, and no UPnP.", quirks: controlOnly()},
		{Name: "fritzbox-like", Description: "Speaks PCP and IGD:2 with WANIPConnection and WANPPPConnection, gives an hour at most, and ignores a search right after another.", quirks: fritz},
		{Name: "none", Description: "Speaks no mapping protocol and answers nothing, as most routers of carriers do."},
	}
}
