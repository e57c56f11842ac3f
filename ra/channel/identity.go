package channel

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"time"
)

// An Identity is the User's side's TLS certificate with its key, made for one
// invitation and never stored.
type Identity struct {
	certificate tls.Certificate
}

// NewIdentity makes a fresh identity, and the hash of its certificate for the
// invitation: SHA-256 over the DER encoding. The certificate names nobody, and
// no clock can make it invalid: only the hash counts.
func NewIdentity() (Identity, [32]byte) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic("channel: crypto/rand: " + err.Error()) // it ends the program by itself
	}
	var serial [16]byte
	rand.Read(serial[:])
	serial[0] = serial[0]&0x7f | 0x40 // positive, of fixed length
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial[:]),
		Subject:      pkix.Name{CommonName: "Remote Assistance"},
		NotBefore:    time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280, 4.1.2.5: no end
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		panic("channel: a constant certificate: " + err.Error())
	}
	return Identity{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}}, sha256.Sum256(der)
}

// serverTLS is the User's side.
func (id Identity) serverTLS() *tls.Config {
	c := tlsConfig()
	c.Certificates = []tls.Certificate{id.certificate}
	return c
}

// clientTLS is the Helper's side: the certificate is the one of the invitation,
// or the handshake fails.
func clientTLS(hash [32]byte) *tls.Config {
	c := tlsConfig()
	c.ServerName = "shipworm.invalid"
	c.InsecureSkipVerify = true // no authority vouches for it: VerifyConnection compares
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) != 1 {
			return ErrIdentity
		}
		got := sha256.Sum256(s.PeerCertificates[0].Raw)
		if subtle.ConstantTimeCompare(got[:], hash[:]) != 1 {
			return ErrIdentity
		}
		return nil
	}
	return c
}
