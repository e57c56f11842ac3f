// Package pake is CPace, a balanced password-authenticated key exchange, over
// ristretto255 with SHA-512, in its initiator-responder setting:
// draft-irtf-cfrg-cpace-21, cipher suite CPACE-RISTR255-SHA512.
//
// Each side sends one share. Both end with the same intermediate session key
// if and only if they began with the same password-related string, the same
// channel identifier and the same session identifier, and saw the same shares
// and associated data. Whoever tries a password learns one thing per run:
// whether that one password was right. [Session.Tag] and [Session.Verify] are
// the explicit key confirmation of the draft's section 10.4; until Verify has
// returned nil nothing is known about the peer.
//
// Left out, on purpose: every other cipher suite, the symmetric setting, and
// all message framing. What goes into Input, and in which order the two tags
// travel, is for the protocol that uses this package to say.
//
//	a, err := pake.New(pake.Initiator, pake.Input{Secret: prs, SID: exporter, Data: []byte("a")})
//	// send a.Share(); receive the peer's share and associated data
//	s, err := a.Finish(share, []byte("b"))
//	// send s.Tag(); receive the peer's tag
//	err = s.Verify(tag)
package pake

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"

	"github.com/bwesterb/go-ristretto"
)

const (
	// ShareSize is the length in bytes of a public share: one encoded
	// ristretto255 element. RFC 9496, 4.3.2
	ShareSize = 32
	// KeySize is the length in bytes of the intermediate session key, the
	// output of SHA-512.
	KeySize = sha512.Size
	// TagSize is the length in bytes of a confirmation tag, HMAC-SHA-512.
	TagSize = sha512.Size
)

var (
	// ErrShare reports a share that is no canonical encoding of a group
	// element, is the neutral element, or is our own share sent back.
	ErrShare = errors.New("pake: invalid share")
	// ErrConfirm reports a confirmation tag that does not fit: the peer holds
	// another secret, or somebody changed a message.
	ErrConfirm = errors.New("pake: key confirmation failed")
)

// A Role is the side of an exchange. The initiator's share and data come first
// in the transcript, whichever message arrived first.
type Role bool

const (
	Initiator Role = true  // A in the draft
	Responder Role = false // B in the draft
)

// Input is what one side brings to an exchange. Every string may have any
// length; lengths are part of what is hashed.
type Input struct {
	Secret  []byte // PRS: what both sides share, of whatever strength
	Channel []byte // CI: what both know about the channel; confidential, never sent
	SID     []byte // sid: unique to this run and equal on both sides
	Data    []byte // ADa or ADb: this side's associated data; the caller sends it

	// Rand yields the 64 bytes from which the secret scalar is drawn.
	// Nil means crypto/rand; anything else is for published vectors.
	Rand io.Reader
}

// An Exchange is one side of one run. It is used once: Finish spends its
// secret scalar. Not safe for concurrent use.
type Exchange struct {
	role   Role
	scalar ristretto.Scalar
	sid    []byte
	data   []byte
	share  [ShareSize]byte
	spent  bool
}

// New starts an exchange and computes this side's share. Input is not
// retained. The only error is a failing Input.Rand.
func New(role Role, in Input) (*Exchange, error) {
	source := in.Rand
	if source == nil {
		source = rand.Reader
	}
	e := &Exchange{role: role, sid: clone(in.SID), data: clone(in.Data)}
	// 64 bytes reduced modulo the group order are uniform to within 2^-259;
	// the draft asks for 1..order-1 where its own sampling is not used.
	var wide [64]byte
	for {
		if _, err := io.ReadFull(source, wide[:]); err != nil {
			return nil, fmt.Errorf("pake: drawing a scalar: %w", err)
		}
		e.scalar.SetReduced(&wide)
		if e.scalar.IsNonZeroI() == 1 {
			break
		}
	}
	clear(wide[:])
	seed := generatorString(in.Secret, in.Channel, in.SID)
	e.share = multiply(&e.scalar, deriveElement(seed))
	clear(seed)
	return e, nil
}

// Share returns the public share to send to the peer.
func (e *Exchange) Share() [ShareSize]byte { return e.share }

// Finish takes the peer's share and associated data, and returns the session
// that both sides share if their inputs agree. It returns [ErrShare] for a
// share that must not be used, and for any second call.
func (e *Exchange) Finish(peerShare, peerData []byte) (*Session, error) {
	if e.spent {
		return nil, fmt.Errorf("%w: the exchange is spent", ErrShare)
	}
	e.spent = true
	defer e.scalar.SetZero()
	if len(peerShare) != ShareSize {
		return nil, fmt.Errorf("%w: %d bytes, want %d", ErrShare, len(peerShare), ShareSize)
	}
	// A share reflected to its sender would pair a key with itself; no honest
	// peer draws our scalar.
	if hmac.Equal(peerShare, e.share[:]) {
		return nil, fmt.Errorf("%w: our own", ErrShare)
	}
	k, ok := multiplyVerify(&e.scalar, peerShare)
	if !ok {
		return nil, ErrShare
	}
	own, peer := lvCat(e.share[:], e.data), lvCat(peerShare, peerData)
	first, second := own, peer
	if e.role == Responder {
		first, second = peer, own
	}
	h := sha512.New()
	h.Write(lvCat([]byte(labelISK), e.sid, k[:]))
	h.Write(first)
	h.Write(second)
	clear(k[:])
	s := &Session{}
	h.Sum(s.key[:0])
	s.confirm(e.sid, own, peer)
	return s, nil
}

// A Session is the outcome of an exchange.
type Session struct {
	key  [KeySize]byte
	tag  [TagSize]byte // ours
	want [TagSize]byte // the peer's
}

// Key returns the intermediate session key (ISK). Derive keys from it; do not
// use it as one.
func (s *Session) Key() [KeySize]byte { return s.key }

// Tag returns the confirmation tag to send to the peer.
func (s *Session) Tag() [TagSize]byte { return s.tag }

// Verify checks the peer's confirmation tag in constant time and returns
// [ErrConfirm] if the peer does not hold the same key.
func (s *Session) Verify(tag []byte) error {
	if !hmac.Equal(tag, s.want[:]) {
		return ErrConfirm
	}
	return nil
}

// confirm computes both tags, each over the message that its sender sent.
// draft-irtf-cfrg-cpace-21, 10.4
func (s *Session) confirm(sid, own, peer []byte) {
	h := sha512.New()
	h.Write([]byte(labelMAC))
	h.Write(sid)
	h.Write(s.key[:])
	macKey := h.Sum(nil)
	mac := func(dst, message []byte) {
		m := hmac.New(sha512.New, macKey)
		m.Write(message)
		m.Sum(dst[:0])
	}
	mac(s.tag[:], own)
	mac(s.want[:], peer)
	clear(macKey)
}

func clone(b []byte) []byte { return append([]byte(nil), b...) }
