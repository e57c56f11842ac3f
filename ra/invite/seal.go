package invite

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"
)

// costs are the parameters of argon2id (RFC 9106).
type costs struct {
	memory  uint32 // KiB
	time    uint32
	threads uint8
}

// What Seal writes, and what a reader accepts.
const (
	sealMemory  = 64 << 10 // KiB
	sealTime    = 3
	sealThreads = 1

	minMemory  = 8 << 10 // KiB
	maxMemory  = 256 << 10
	maxTime    = 10
	maxThreads = 4
)

func (c costs) acceptable() bool {
	return c.memory >= minMemory && c.memory <= maxMemory &&
		c.time >= 1 && c.time <= maxTime &&
		c.threads >= 1 && c.threads <= maxThreads
}

// key derives the ticket's key from a canonical password. Its memory is what
// makes guessing dear: 64 MiB for about a tenth of a second.
func (c costs) key(password string, salt []byte) []byte {
	return argon2.IDKey([]byte(password), salt, c.time, c.memory, c.threads, chacha20poly1305.KeySize)
}

// Seal returns the invitation file, sealed under the password, which may have
// any form that [Normalize] takes. It needs 64 MiB and about 0.1 s. The
// errors are those of validation, all of them at once, and [ErrPassword].
func (inv *Invitation) Seal(password string) ([]byte, error) {
	h := header{version: Version, costs: costs{sealMemory, sealTime, sealThreads}}
	rand.Read(h.salt[:]) // never fails: crypto/rand ends the program instead
	rand.Read(h.nonce[:])
	return inv.seal(password, h)
}

func (inv *Invitation) seal(password string, h header) ([]byte, error) {
	password, err := Normalize(password)
	if err != nil {
		return nil, err
	}
	if err := inv.validate(); err != nil {
		return nil, err
	}
	h.id, h.created, h.expires = inv.ID, inv.Created.UTC(), inv.Expires.UTC()
	key := h.costs.key(password, h.salt[:])
	defer clear(key)
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, err
	}
	ticket := appendTicket(nil, inv)
	defer clear(ticket)
	f := &File{head: h, aad: h.appendTo(nil)}
	f.ticket = aead.Seal(nil, h.nonce[:], ticket, f.aad)
	f.digest = f.sum()
	return f.encode(), nil
}

// A File is a parsed invitation file whose ticket is still sealed. It is
// immutable and safe for concurrent use.
type File struct {
	head   header
	aad    []byte // the canonical header, which the seal covers
	ticket []byte
	digest [sha256.Size]byte
}

// ID returns the invitation's id.
func (f *File) ID() [16]byte { return f.head.id }

// Created returns when the invitation was made, by the User's clock.
func (f *File) Created() time.Time { return f.head.created }

// Expires returns when the invitation ends, by the User's clock.
func (f *File) Expires() time.Time { return f.head.expires }

// Expired reports whether the invitation should be over at now. It is a hint
// for a person only: the Helper's clock decides nothing.
func (f *File) Expired(now time.Time) bool { return !now.Before(f.head.expires) }

// Open unseals the ticket. It needs the memory that the file asks for, at most
// 256 MiB, and about 0.1 s. The error is [ErrPassword] if the password does
// not fit; a ticket that opens but holds nonsense is a [*FormatError].
func (f *File) Open(password string) (*Invitation, error) {
	password, err := Normalize(password)
	if err != nil {
		return nil, err
	}
	key := f.head.costs.key(password, f.head.salt[:])
	defer clear(key)
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, err
	}
	ticket, err := aead.Open(nil, f.head.nonce[:], f.ticket, f.aad)
	if err != nil {
		return nil, ErrPassword
	}
	defer clear(ticket)
	inv := &Invitation{
		Version: f.head.version,
		ID:      f.head.id,
		Created: f.head.created,
		Expires: f.head.expires,
	}
	if err := decodeTicket(ticket, inv); err != nil {
		return nil, &FormatError{Reason: err.Error(), Err: ErrDamaged}
	}
	return inv, nil
}

// sum is the digest that tells an accident from a wrong password.
func (f *File) sum() [sha256.Size]byte {
	h := sha256.New()
	h.Write(f.aad)
	h.Write(f.ticket)
	return [sha256.Size]byte(h.Sum(nil))
}

// check verifies what can be verified without a password, and returns the
// sentinel and the reason.
func (f *File) check() (cause error, reason string) {
	switch life := f.head.expires.Sub(f.head.created); {
	case !f.head.costs.acceptable():
		c := f.head.costs
		return ErrCost, fmt.Sprintf("argon2id with %d KiB, %d passes, %d threads", c.memory, c.time, c.threads)
	case len(f.ticket) <= chacha20poly1305.Overhead || len(f.ticket) > maxTicket+chacha20poly1305.Overhead:
		return ErrDamaged, fmt.Sprintf("a ticket of %d bytes", len(f.ticket))
	case f.sum() != f.digest:
		return ErrDamaged, "the digest does not fit"
	case life <= 0 || life > MaxLife:
		return ErrDamaged, fmt.Sprintf("a life of %v", life)
	}
	return nil, ""
}

var errCanonical = errors.New("not in canonical form")
