package channel

import (
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"hash"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"shipworm/ra/invite"

	"golang.org/x/crypto/blake2b"
)

// tagSize is what the knock adds to each datagram, at its end.
const tagSize = 16

// maxDatagram is the largest datagram that we send or look at.
const maxDatagram = packetSize + tagSize

// replaySize bounds the memory of first datagrams: 16 bytes each. An honest
// Helper needs fewer than ten.
const replaySize = 4096

// A knock is a packet conn that lets only those speak who hold the file
// secret: it adds a keyed BLAKE2b tag to each datagram that leaves and drops,
// unanswered, each that comes without. The two directions have keys of
// their own, so that a datagram sent back to its sender is worth nothing.
//
// It also drops the exact copy of a datagram that opened or furthered a
// handshake, so that recorded datagrams get no answer either. QUIC
// never sends the same datagram twice.
//
// It is not a *net.UDPConn on purpose: QUIC must not reach past it.
type knock struct {
	net.PacketConn
	send, receive tagger

	// established makes errors of the socket count as loss: an interface that
	// comes back within the idle timeout must not end a session.
	established atomic.Bool
	sendError   atomic.Pointer[error] // the last one, for Dial's message
	dropped     atomic.Uint64         // datagrams without a valid tag, and copies

	replay replayCache // used by the reading goroutine only
	last   lastDatagram
}

// labels of the directions
const (
	toUser   = "shipworm ra 1 knock helper to user"
	toHelper = "shipworm ra 1 knock user to helper"
)

func newKnock(pc net.PacketConn, inv *invite.Invitation, sendLabel, receiveLabel string) *knock {
	return &knock{
		PacketConn: pc,
		send:       newTagger(inv, sendLabel),
		receive:    newTagger(inv, receiveLabel),
	}
}

// Some sockets report ICMP messages as errors of the next read. One of them
// must not end a session, and a socket that is really broken must not spin.
const (
	maxReadErrors  = 64 // in a row
	readErrorPause = 5 * time.Millisecond
)

// ReadFrom returns the next datagram whose tag is valid, without the tag.
func (k *knock) ReadFrom(p []byte) (int, net.Addr, error) {
	failed := 0
	for {
		n, addr, err := k.PacketConn.ReadFrom(p)
		if err != nil {
			if failed++; final(err) || failed > maxReadErrors {
				return 0, nil, err
			}
			time.Sleep(readErrorPause)
			continue
		}
		failed = 0
		body := n - tagSize
		if body <= 0 || n > maxDatagram || !k.receive.valid(p[:body], p[body:n]) {
			k.dropped.Add(1)
			continue
		}
		const longHeader = 0x80 // RFC 9000, 17.2
		if p[0]&longHeader != 0 && k.replay.seen([tagSize]byte(p[body:n])) {
			k.dropped.Add(1)
			continue
		}
		return body, addr, nil
	}
}

// final says that a socket will not be read any more, or not now.
func final(err error) bool {
	var timeout net.Error
	return errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) ||
		errors.As(err, &timeout) && timeout.Timeout()
}

// WriteTo sends one datagram with its tag. It does not retain b.
func (k *knock) WriteTo(b []byte, addr net.Addr) (int, error) {
	if len(b) > packetSize {
		return 0, errors.New("channel: datagram too large")
	}
	out := k.send.get()
	defer k.send.put(out)
	n := copy(out.buf[:], b)
	out.sum(out.buf[n:n], b)
	datagram := out.buf[:n+tagSize]
	k.last.note(datagram, addr)
	_, err := k.PacketConn.WriteTo(datagram, addr)
	if err != nil && !errors.Is(err, net.ErrClosed) {
		cause := err // a copy: err itself must not escape on each datagram
		k.sendError.Store(&cause)
		if k.established.Load() {
			err = nil
		}
	}
	return len(b), err
}

// SetReadBuffer and SetWriteBuffer pass QUIC's wish on to sockets that know
// what to do with it. That they exist and succeed also keeps quic-go from
// printing a warning about sockets that do not.

// SetReadBuffer asks for a larger receive buffer; it never fails.
func (k *knock) SetReadBuffer(n int) error {
	if c, ok := k.PacketConn.(interface{ SetReadBuffer(int) error }); ok {
		_ = c.SetReadBuffer(n) // a smaller buffer works too
	}
	return nil
}

// SetWriteBuffer asks for a larger send buffer; it never fails.
func (k *knock) SetWriteBuffer(n int) error {
	if c, ok := k.PacketConn.(interface{ SetWriteBuffer(int) error }); ok {
		_ = c.SetWriteBuffer(n)
	}
	return nil
}

// A tagger computes tags of one direction. Safe for concurrent use.
type tagger struct{ pool *sync.Pool }

type tagState struct {
	hash hash.Hash
	buf  [maxDatagram]byte
}

func newTagger(inv *invite.Invitation, label string) tagger {
	// The id as salt gives equal secrets of two invitations, which do not
	// happen, different keys all the same.
	key, err := hkdf.Key(sha256.New, inv.FileSecret[:], inv.ID[:], label, 32)
	if err != nil {
		panic("channel: hkdf: " + err.Error()) // 32 bytes are never too many
	}
	return tagger{&sync.Pool{New: func() any {
		h, err := blake2b.New(tagSize, key)
		if err != nil {
			panic("channel: blake2b: " + err.Error()) // constant sizes
		}
		return &tagState{hash: h}
	}}}
}

func (t tagger) get() *tagState  { return t.pool.Get().(*tagState) }
func (t tagger) put(s *tagState) { t.pool.Put(s) }

// sum appends the tag of body to dst.
func (s *tagState) sum(dst, body []byte) []byte {
	s.hash.Reset()
	s.hash.Write(body)
	return s.hash.Sum(dst)
}

func (t tagger) valid(body, tag []byte) bool {
	s := t.get()
	defer t.put(s)
	return subtle.ConstantTimeCompare(s.sum(s.buf[:0], body), tag) == 1
}

// A replayCache remembers the tags of the last replaySize long-header
// datagrams. Only holders of the file secret can fill it.
type replayCache struct {
	set  map[[tagSize]byte]struct{}
	ring [][tagSize]byte
	next int
}

// seen remembers tag and reports whether it was there already.
func (c *replayCache) seen(tag [tagSize]byte) bool {
	if _, ok := c.set[tag]; ok {
		return true
	}
	if c.set == nil {
		c.set = make(map[[tagSize]byte]struct{})
	}
	if len(c.ring) < replaySize {
		c.ring = append(c.ring, tag)
	} else {
		delete(c.set, c.ring[c.next])
		c.ring[c.next] = tag
		c.next = (c.next + 1) % replaySize
	}
	c.set[tag] = struct{}{}
	return false
}

// A lastDatagram keeps the newest datagram to one address once asked to: the
// one that says goodbye, which must be sent more than once because nobody
// acknowledges it.
type lastDatagram struct {
	on   atomic.Bool
	mu   sync.Mutex
	addr string
	data []byte
}

func (l *lastDatagram) keep(addr net.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addr, l.data = addr.String(), nil
	l.on.Store(true)
}

func (l *lastDatagram) note(datagram []byte, addr net.Addr) {
	if !l.on.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if addr.String() == l.addr {
		l.data = append(l.data[:0], datagram...)
	}
}

func (l *lastDatagram) take() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]byte(nil), l.data...)
}
