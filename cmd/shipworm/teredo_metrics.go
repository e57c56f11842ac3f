package main

import (
	"fmt"
	"time"

	"shipworm/teredo"
	"shipworm/teredo/engine"
)

// clientMetrics are what a client tells Prometheus.
func clientMetrics(m *metrics, st teredo.State) {
	for s := engine.Initial; s <= engine.Offline; s++ {
		m.gauge("shipworm_teredo_state", "1 for the state that the client is in.", b2f(s == st.ClientState.State), "state", s.String())
	}
	m.counter("shipworm_teredo_solicitations_total", "Solicitations sent to the server.", st.Solicitations)
	m.counter("shipworm_teredo_packets_total", "Data packets through the tunnel.", st.Sent, "direction", "out")
	m.counter("shipworm_teredo_packets_total", "", st.Received, "direction", "in")
	m.gauge("shipworm_teredo_peers", "Peers in the table.", float64(st.PeersTrusted), "kind", "trusted")
	m.gauge("shipworm_teredo_peers", "", float64(st.PeersOther), "kind", "other")
	m.gauge("shipworm_teredo_queued_bytes", "Bytes that wait for a peer.", float64(st.Queued))
	m.gauge("shipworm_teredo_server_rtt_seconds", "Round trip of the last answered solicitation.", st.RTT.Seconds())
	dropMetrics(m, &st.Drops)
	for _, why := range sortedKeys(st.HostDrops) {
		m.counter("shipworm_teredo_host_drops_total", "Packets that the host's filter stopped.", st.HostDrops[why], "reason", why)
	}
	socketMetrics(m, st.Socket)
}

// serverMetrics are what a server tells.
func serverMetrics(m *metrics, st teredo.ServerState) {
	m.counter("shipworm_teredo_received_total", "Datagrams received.", st.Received)
	const sent = "shipworm_teredo_sent_total"
	m.counter(sent, "Packets sent, by kind.", st.Advertised, "kind", "advertisement")
	m.counter(sent, "", st.Forwarded, "kind", "forwarded")
	m.counter(sent, "", st.Native, "kind", "native")
	m.counter("shipworm_teredo_native_errors_total", "Tests of native hosts that no route led to.", st.NativeErrors)
	m.gauge("shipworm_teredo_limit_entries", "Networks in the tables of the rate limits.", float64(st.LimitEntries))
	dropMetrics(m, &st.Drops)
	var sum teredo.SocketStats
	for _, s := range st.Sockets {
		sum.WriteDrops += s.WriteDrops
		sum.ReadErrors += s.ReadErrors
	}
	socketMetrics(m, sum)
}

// relayMetrics are what a relay tells.
func relayMetrics(m *metrics, st teredo.RelayState) {
	const packets = "shipworm_teredo_packets_total"
	m.counter(packets, "Data packets through the tunnel.", st.Sent, "direction", "out")
	m.counter(packets, "", st.Received, "direction", "in")
	m.counter("shipworm_teredo_bubbles_total", "Bubbles sent.", st.Bubbles)
	m.gauge("shipworm_teredo_peers", "Clients in the table.", float64(st.PeersTrusted), "kind", "trusted")
	m.gauge("shipworm_teredo_peers", "", float64(st.PeersOther), "kind", "other")
	m.gauge("shipworm_teredo_queued_bytes", "Bytes that wait for a client.", float64(st.Queued))
	dropMetrics(m, &st.Drops)
	socketMetrics(m, st.Socket)
}

// dropMetrics names every reason, also those that did not occur yet: a rate
// needs a series that begins at zero.
func dropMetrics(m *metrics, d *engine.Drops) {
	for i, n := range d {
		m.counter("shipworm_teredo_drops_total", "Packets dropped or not sent.", n, "reason", engine.Drop(i).String())
	}
}

func socketMetrics(m *metrics, s teredo.SocketStats) {
	m.counter("shipworm_teredo_socket_write_drops_total", "Datagrams that the socket did not take.", s.WriteDrops)
	m.counter("shipworm_teredo_socket_read_errors_total", "Errors of the socket that did not end it.", s.ReadErrors)
}

func b2f(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// clientStatus is a line for systemctl status.
func clientStatus(st teredo.State) string {
	switch {
	case st.ClientState.State == engine.Initial:
		return "looking up the server " + st.ServerName
	case st.Address.IsValid():
		return fmt.Sprintf("%v, server %s, %d peers", st.Address, st.ServerName, st.PeersTrusted)
	}
	return fmt.Sprintf("%v, server %s, next try in %v", st.ClientState.State, st.ServerName, max(0, time.Until(st.NextSolicit)).Round(time.Second))
}
