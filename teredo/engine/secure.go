package engine

import (
	"crypto/hmac"
	"crypto/sha1"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/netip"

	"shipworm/teredo/wire"
)

// minKey is the length of the shortest key of secure qualification, in bytes.
const minKey = 16

// Credential is the secret that a client and its server share for secure
// qualification (RFC 4380, 5.2.2): each proves with it, by HMAC-SHA1 over nonce
// and packet, that a solicitation or an advertisement is its own. The zero
// Credential is none.
//
// RFC 4380, 7.2.1 still speaks of HMAC-MD5; 5.2.2 rules.
type Credential struct {
	ID  string // names the key to the server: 1 to 255 bytes, readable by all on the way
	Key []byte // at least 16 bytes
}

// Check reports what is wrong with c, if anything.
func (c Credential) Check() error {
	switch {
	case c.ID == "" || len(c.ID) > 255:
		return fmt.Errorf("client identifier %.20q: not 1 to 255 bytes", c.ID)
	case len(c.Key) < minKey:
		return fmt.Errorf("key of client identifier %.20q: shorter than %d bytes", c.ID, minKey)
	}
	return nil
}

// authenticator signs and verifies with one credential.
type authenticator struct {
	id     string
	mac    hash.Hash
	nobody bool // of an unknown client: it verifies nothing, at the usual cost
	sum    [sha1.Size]byte
	head   [8 + 1 + wire.OriginSize]byte
}

func newAuthenticator(c Credential) *authenticator {
	return &authenticator{id: c.ID, mac: hmac.New(sha1.New, c.Key)}
}

// value returns the authentication value of an IPv6 packet with what goes
// before it. It is valid until the next call.
func (a *authenticator) value(nonce [8]byte, confirmation byte, origin netip.AddrPort, packet []byte) []byte {
	b := append(a.head[:0], nonce[:]...)
	b = append(b, confirmation)
	if origin.IsValid() {
		b = wire.AppendOrigin(b, origin)
	}
	a.mac.Reset()
	a.mac.Write(b)
	a.mac.Write(packet)
	return a.mac.Sum(a.sum[:0])
}

// verify reports whether d is signed with the credential.
func (a *authenticator) verify(d *wire.Datagram) bool {
	if !d.HasAuth || len(d.Trailers) != 0 {
		return false // nothing covers trailers
	}
	want := a.value(d.Auth.Nonce, d.Auth.Confirmation, d.Origin, d.IPv6)
	return hmac.Equal(want, d.Auth.Value) && !a.nobody && string(d.Auth.ID) == a.id
}

// appendSigned appends an authentication header, an origin indication if origin
// is valid, and packet.
func (a *authenticator) appendSigned(b []byte, nonce [8]byte, origin netip.AddrPort, packet []byte) []byte {
	value := a.value(nonce, 0, origin, packet)
	b, _ = wire.AppendAuth(b, &wire.Auth{ID: []byte(a.id), Value: value, Nonce: nonce}) // both are short
	if origin.IsValid() {
		b = wire.AppendOrigin(b, origin)
	}
	return append(b, packet...)
}

// appendSolicitation appends a solicitation with its nonce, signed if need be.
func (c *Client) appendSolicitation(b []byte, nonce [8]byte, cone bool) []byte {
	if c.auth == nil {
		return wire.AppendSolicitation(wire.AppendNonce(b, nonce), wire.ClientLinkLocal(cone))
	}
	packet := wire.AppendSolicitation(nil, wire.ClientLinkLocal(cone))
	return c.auth.appendSigned(b, nonce, netip.AddrPort{}, packet)
}

// keyring is the server's end: who may qualify.
type keyring struct {
	clients map[string]*authenticator
	nobody  *authenticator
}

// newKeyring returns nil for no credentials: everybody may qualify.
func newKeyring(credentials []Credential, rand io.Reader) (*keyring, error) {
	if credentials == nil {
		return nil, nil
	}
	k := &keyring{clients: map[string]*authenticator{}}
	var errs []error
	for _, c := range credentials {
		errs = append(errs, c.Check())
		if k.clients[c.ID] != nil {
			errs = append(errs, fmt.Errorf("client identifier %.20q: named twice", c.ID))
		}
		k.clients[c.ID] = newAuthenticator(c)
	}
	var key [sha1.BlockSize]byte
	if _, err := io.ReadFull(rand, key[:]); err != nil {
		errs = append(errs, fmt.Errorf("randomness: %w", err))
	}
	k.nobody = newAuthenticator(Credential{Key: key[:]})
	k.nobody.nobody = true
	return k, errors.Join(errs...)
}

// client returns who signed the solicitation d, or nil. An identifier that
// nobody has costs what a wrong signature does.
func (k *keyring) client(d *wire.Datagram) *authenticator {
	a := k.nobody
	if d.HasAuth {
		if known := k.clients[string(d.Auth.ID)]; known != nil {
			a = known
		}
	}
	if !a.verify(d) {
		return nil
	}
	return a
}
