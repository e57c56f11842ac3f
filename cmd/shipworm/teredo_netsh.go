package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"shipworm/internal/clean"
	"shipworm/teredo"
	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
)

// maxShownName bounds what is printed of a server's name, in bytes.
const maxShownName = 253

// showState prints st as netsh does: header, 45 dashes, labels padded to 24.
// Like netsh it leaves out the lines that have nothing to tell in a state.
func showState(w io.Writer, st *shownState) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Teredo Parameters\n%s\n", strings.Repeat("-", 45))
	printLabel(&b, "Type", typeWord(st.Type))
	printLabel(&b, "Server Name", clean.Line(st.ServerName, maxShownName))
	printLabel(&b, "Client Refresh Interval", fmt.Sprintf("%d seconds", int(st.Refresh/time.Second)))
	if st.Port == 0 {
		printLabel(&b, "Client Port", "unspecified")
	} else {
		printLabel(&b, "Client Port", st.Port)
	}
	switch st.ClientState.State {
	case engine.Ready, engine.Unreachable:
		printLabel(&b, "State", "qualified")
		printLabel(&b, "Client Type", "teredo client")
		printLabel(&b, "Network", networkWord(st.Managed))
		printLabel(&b, "NAT", natWord(&st.State))
		printLabel(&b, "NAT Special Behaviour", fmt.Sprintf("UPNP: %s, PortPreserving: %s",
			yesNo(st.Forward.IsValid() && st.Forward.Addr() == st.Mapped.Addr()), yesNo(st.Local.Port() == st.Mapped.Port())))
		printLabel(&b, "Local Mapping", st.Local)
		printLabel(&b, "External NAT Mapping", st.Mapped)
	case engine.Offline:
		printLabel(&b, "State", "offline")
		printLabel(&b, "Error", offlineWord(st))
	case engine.Qualifying:
		printLabel(&b, "State", "probe (primary server)")
		printLabel(&b, "Client Type", "teredo client")
		printLabel(&b, "Network", networkWord(st.Managed))
	default:
		printLabel(&b, "State", "dormant")
	}
	_, err := w.Write(b.Bytes())
	return err
}

// networkWord is about who runs the network. A host here knows no more of that
// than it is told, with --network.
func networkWord(managed bool) string {
	if managed {
		return "managed"
	}
	return "unmanaged"
}

// offlineWord says why there is no address. What netsh says in English of a
// silent server is not known to us.
func offlineWord(st *shownState) string {
	switch {
	case st.Type == typeDisabled:
		return "none"
	case st.Managed && st.Type != typeEnterprise:
		return "client is in a managed network"
	case st.Secondary.IsValid():
		return "primary / secondary teredo server cannot be reached over UDP"
	}
	return "primary teredo server cannot be reached over UDP"
}

// typeWord is the type as netsh shows it: what "default" means is a client.
func typeWord(t clientType) clientType {
	if t == "" || t == typeDefault {
		return typeClient
	}
	return t
}

// natWord says what is known of the NAT, in netsh's words as far as they go.
// Two addresses of a server show how it maps, and with --cone-test whether its
// filter lets everybody in, not whether the port counts.
func natWord(st *teredo.State) string {
	switch {
	case st.Local == st.Mapped:
		return "none (global connectivity)"
	case st.NAT == wire.NATIndependent && st.Filtering == engine.FilteringNone:
		return "cone"
	case st.NAT == wire.NATIndependent && st.Filtering == engine.FilteringRestricted:
		return "restricted"
	case st.NAT == wire.NATIndependent:
		return "cone or restricted"
	case st.NAT > wire.NATIndependent:
		return "symmetric"
	}
	return "unknown"
}

func yesNo(b bool) string {
	if b {
		return "Yes"
	}
	return "No"
}

// showCounters prints what netsh never told: every counter, and every reason
// for which a packet was dropped, by the one who dropped it.
func showCounters(w io.Writer, st *teredo.State) error {
	var b bytes.Buffer
	section := func(title string) { fmt.Fprintf(&b, "\n%s\n%s\n", title, strings.Repeat("-", 45)) }
	section("Counters")
	printLabel(&b, "Teredo Address", orNone(st.Address.IsValid(), st.Address))
	printLabel(&b, "Solicitations", st.Solicitations)
	printLabel(&b, "Packets Sent", st.Sent)
	printLabel(&b, "Packets Received", st.Received)
	printLabel(&b, "Peers", fmt.Sprintf("%d trusted, %d other", st.PeersTrusted, st.PeersOther))
	printLabel(&b, "Bytes Queued", st.Queued)
	section("Packets Dropped")
	for i := engine.Drop(0); i < engine.DropServerLoop; i++ {
		printLabel(&b, i.String(), st.Drops[i])
	}
	printLabel(&b, "socket", st.Socket.WriteDrops)
	if len(st.HostDrops) > 0 {
		section("Packets Stopped by the Host")
		for _, why := range sortedKeys(st.HostDrops) {
			printLabel(&b, why, st.HostDrops[why])
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

func orNone(ok bool, v any) any {
	if !ok {
		return "none"
	}
	return v
}
