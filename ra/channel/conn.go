package channel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/quic-go/quic-go"
)

// A Conn is an authenticated connection. Safe for concurrent use. Close must
// be called even if the peer ended it.
type Conn struct {
	quic *quic.Conn
	link *link
	once sync.Once
}

func newConn(qc *quic.Conn, l *link) *Conn {
	l.retain()
	return &Conn{quic: qc, link: l}
}

// A Stream is a reliable, ordered byte stream of a [Conn], in both directions.
//
// Close ends our direction after everything written was delivered; the peer
// then reads io.EOF. Reading goes on until the peer has closed, too. To give
// up a stream, cancel what is left of it: the peer's Write (CancelRead) or
// Read (CancelWrite) fails with an [ErrStream]. Deadlines fail with
// os.ErrDeadlineExceeded. After the connection ended, everything fails with
// the error of [Conn.Err].
type Stream interface {
	io.ReadWriteCloser
	SetDeadline(t time.Time) error
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
	CancelRead(code uint64)
	CancelWrite(code uint64)
}

// OpenStream opens a stream of the given kind and announces it to the peer at
// once. It waits, as long as ctx lets it, while 64 streams are open.
func (c *Conn) OpenStream(ctx context.Context, kind byte) (Stream, error) {
	s, err := c.quic.OpenStreamSync(ctx)
	if err != nil {
		return nil, c.translate(err)
	}
	if _, err := s.Write([]byte{kind}); err != nil {
		s.CancelRead(0)
		s.CancelWrite(0)
		return nil, c.translate(err)
	}
	setPriority(s, kind)
	return &stream{Stream: s, conn: c}, nil
}

// AcceptStream waits for the peer's next stream.
func (c *Conn) AcceptStream(ctx context.Context) (kind byte, st Stream, err error) {
	for {
		s, err := c.quic.AcceptStream(ctx)
		if err != nil {
			return 0, nil, c.translate(err)
		}
		// The kind is in the frame that opened the stream, save for a peer
		// that dawdles: it must not hold up the others for long.
		var first [1]byte
		_ = s.SetReadDeadline(time.Now().Add(keepAlive))
		if _, err := io.ReadFull(s, first[:]); err != nil {
			s.CancelRead(0)
			s.CancelWrite(0)
			continue
		}
		_ = s.SetReadDeadline(time.Time{})
		setPriority(s, first[0])
		return first[0], &stream{Stream: s, conn: c}, nil
	}
}

// setPriority lets control and input go before the screen (RR-05).
// RFC 9218, 4.1: 0 is the most urgent.
func setPriority(s *quic.Stream, kind byte) {
	switch kind {
	case KindControl, KindInput:
		s.SetPriority(1, true)
	case KindScreen:
		s.SetPriority(5, true)
	}
}

// RemoteAddr returns the peer's current address; it changes when the peer moves.
func (c *Conn) RemoteAddr() netip.AddrPort { return addrPort(c.quic.RemoteAddr()) }

// Done is closed when the connection has ended, for whatever reason.
func (c *Conn) Done() <-chan struct{} { return c.quic.Context().Done() }

// Err returns nil while the connection lives. Then: an [*ErrClosedByPeer];
// net.ErrClosed after our own Close; [ErrLost] after 15 s of silence;
// [ErrPassword] or [ErrBusy] to a Helper whom the User's side turned away in
// the last moment; [ErrProtocol].
func (c *Conn) Err() error {
	select {
	case <-c.quic.Context().Done():
		return translate(context.Cause(c.quic.Context()))
	default:
		return nil
	}
}

func (c *Conn) translate(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return translate(err)
}

// Stats are figures about the connection.
type Stats struct {
	RTT             time.Duration // smoothed
	PacketsReceived uint64        // grows at least every 5 s while the peer lives
	PacketsLost     uint64
	BytesReceived   uint64
	BytesSent       uint64
	Dropped         uint64 // datagrams of strangers and copies, on the whole socket
}

// Stats returns the figures of this moment.
func (c *Conn) Stats() Stats {
	s := c.quic.ConnectionStats()
	return Stats{
		RTT:             s.SmoothedRTT,
		PacketsReceived: s.PacketsReceived,
		PacketsLost:     s.PacketsLost,
		BytesReceived:   s.BytesReceived,
		BytesSent:       s.BytesSent,
		Dropped:         c.link.knock.dropped.Load(),
	}
}

// maxReason bounds a close reason, in bytes: it must fit one packet.
const maxReason = 256

// goodbyes are when copies of the last packet follow the first one. Nobody
// acknowledges it, and the caller is about to close the socket: three packets
// spread over more than a burst of loss leave one in a thousand at 10 % loss.
var goodbyes = [...]time.Duration{40 * time.Millisecond, 80 * time.Millisecond}

// Close ends the connection and tells the peer code and reason, which is cut
// at 256 bytes. It takes 0.12 s, because it says so three times; data not yet
// delivered is lost. Further calls do nothing. Always nil.
func (c *Conn) Close(code uint64, reason string) error {
	for len(reason) > maxReason || !utf8.ValidString(reason) {
		_, n := utf8.DecodeLastRuneInString(reason)
		reason = reason[:len(reason)-n]
	}
	const limit = 1 << 61 // a variable-length integer has 62 bits; RFC 9000, 16
	return c.close(codeSession+quic.ApplicationErrorCode(min(code, limit)), reason)
}

func (c *Conn) close(code quic.ApplicationErrorCode, reason string) error {
	c.once.Do(func() {
		defer c.link.release()
		if c.Err() != nil {
			return
		}
		remote := c.quic.RemoteAddr()
		c.link.knock.last.keep(remote)
		_ = c.quic.CloseWithError(code, reason)
		datagram := c.link.knock.last.take()
		for _, pause := range goodbyes {
			time.Sleep(pause)
			if _, err := c.link.knock.PacketConn.WriteTo(datagram, remote); err != nil {
				return
			}
		}
	})
	return nil
}

// String names the connection for logs.
func (c *Conn) String() string { return fmt.Sprintf("channel with %v", c.RemoteAddr()) }

// stream speaks our errors.
type stream struct {
	*quic.Stream
	conn *Conn
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	return n, s.conn.translate(err)
}

func (s *stream) Write(p []byte) (int, error) {
	n, err := s.Stream.Write(p)
	return n, s.conn.translate(err)
}

func (s *stream) CancelRead(code uint64)  { s.Stream.CancelRead(quic.StreamErrorCode(code)) }
func (s *stream) CancelWrite(code uint64) { s.Stream.CancelWrite(quic.StreamErrorCode(code)) }
