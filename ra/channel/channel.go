// Package channel is the authenticated, encrypted connection between the two
// sides of Remote Assistance, over any net.PacketConn.
//
// Three gates stand one behind the other:
//
//   - the knock: every datagram carries a tag keyed from the invitation's file
//     secret. Datagrams without a valid tag vanish before anything looks at
//     them, so that strangers are never answered;
//   - QUIC version 1 (RFC 9000) with TLS 1.3, the User's certificate pinned by
//     the hash in the invitation;
//   - CPace over password and file secret, bound to the TLS exporter, with
//     confirmation both ways before anything else is said. It is counted
//     when it begins: five wrong ones burn the invitation.
//
// The Helper dials and is authenticated two round trips later. One invitation
// carries one session. docs/ra-protocol.md says it byte by byte.
//
// Left out: what the streams carry (package session), and taking up a session
// again after the User's own address changed; a change of the Helper's address
// is QUIC's connection migration and needs nobody's help.
//
//	identity, hash := channel.NewIdentity()
//	inv.CertHash = hash
//	l, err := channel.Listen(pc, channel.ListenConfig{Invitation: inv, Password: pw, Identity: identity})
//	conn, err := l.Accept(ctx) // the User's side
//
//	conn, err := channel.Dial(ctx, pc, addr, channel.DialConfig{Invitation: inv, Password: pw})
//	control, err := conn.OpenStream(ctx, channel.KindControl)
package channel

import (
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/quic-go/quic-go"
)

// Kinds of streams, the first byte of each. All are opened by the Helper.
const (
	KindControl byte = 0 // states, consent, chat; opened at once
	KindScreen  byte = 1 // RFB, one for each viewer
	KindInput   byte = 2 // keyboard and pointer
)

const (
	// version is the protocol's version; there is one suite for each.
	version = 1
	alpn    = "shipworm-ra/1"

	// packetSize keeps a datagram within Teredo's MTU of 1280 (RFC 4380,
	// 5.1.2): 40 IPv6 + 8 UDP + 1200 QUIC + 16 tag = 1264.
	packetSize = 1200

	keepAlive   = 5 * time.Second  // RR-01
	idleTimeout = 15 * time.Second // RR-01

	authDeadline = 10 * time.Second // from the first datagram on
	maxStreams   = 64
)

// Windows of the User's side before authentication: together with QUIC's own
// state they keep a half-open connection within 64 KiB. QUIC widens
// them once a stream is read fast.
const (
	userStreamWindow = 16 << 10
	userConnWindow   = 32 << 10
)

func quicConfig() *quic.Config {
	return &quic.Config{
		Versions:                []quic.Version{quic.Version1},
		HandshakeIdleTimeout:    authDeadline / 2, // quic-go gives up after twice this
		MaxIdleTimeout:          idleTimeout,
		KeepAlivePeriod:         keepAlive,
		InitialPacketSize:       packetSize,
		DisablePathMTUDiscovery: true,
		MaxIncomingStreams:      maxStreams,
		MaxIncomingUniStreams:   -1,
	}
}

// tlsConfig is what both sides have in common. One group only, a hybrid that
// also keeps a recorded session safe from a quantum computer; no tickets, so
// that no session outlives its connection.
func tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{alpn},
		CurvePreferences:       []tls.CurveID{tls.X25519MLKEM768},
		SessionTicketsDisabled: true,
	}
}

// silent returns l, or a logger that drops everything.
func silent(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}
