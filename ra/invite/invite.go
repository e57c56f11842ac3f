// Package invite makes and reads invitations to Remote Assistance: the file
// that the User hands to the Helper and the password that goes
// with it by another way, by voice for instance.
//
// An invitation file is a small XML document. Its header says in clear what a
// reader must know before he has the password: version, id, life and the
// parameters of the key derivation. Everything else, addresses included, is in
// the ticket, sealed under the password with argon2id and XChaCha20-Poly1305,
// the header being associated data. docs/ra-protocol.md has the format;
// testdata/ has a known answer for other implementations.
//
// Left out: passwords chosen by the User, whose ticket must not be sealed
// under them (a sealed ticket lets a weak password be searched offline), and
// the inspection of Windows' own tickets, which are recognised and refused.
//
//	inv, err := invite.New("Alice", 6*time.Hour, time.Now())
//	inv.Candidates, inv.CertHash = candidates, hash
//	password := invite.NewPassword()
//	file, err := inv.Seal(password)
//	err = invite.Write("Invitation.MsRcIncident", file)
//
//	f, err := invite.Parse(file) // the Helper's side
//	inv, err := f.Open(password)
package invite

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	// Version is the format that this package writes, and the only one that
	// it reads: a version is a suite, and nothing is negotiated.
	Version = 1
	// DefaultLife is how long an invitation lasts unless policy says otherwise.
	DefaultLife = 6 * time.Hour
	// MaxLife is the longest life that policy can give: 99 days.
	MaxLife = 99 * 24 * time.Hour
	// MaxCandidates bounds the addresses of an invitation.
	MaxCandidates = 16
	// MaxUser bounds the name of the User, in bytes of UTF-8.
	MaxUser = 128
)

// An Invitation is everything the two sides share before they meet. FileSecret
// must not be shown or logged; String and LogValue leave it out.
type Invitation struct {
	Version    int       // 1
	ID         [16]byte  // random, in clear in the file
	FileSecret [16]byte  // random; whoever lacks it is not answered at all
	User       string    // the name that the User gives himself; not verified
	Created    time.Time // whole seconds, UTC
	Expires    time.Time // whole seconds, UTC; the User's side enforces it
	Candidates []Candidate
	CertHash   [32]byte // SHA-256 of the User's TLS certificate (DER)
}

// Kinds of candidates.
const (
	Teredo = "teredo" // an address of a Teredo client
	IPv6   = "ipv6"   // the host's own
	Mapped = "mapped" // IPv4, a port that the User's router leads to the host
	LAN    = "lan"    // of a network that the Helper is on, too
)

// A Candidate is one address at which the User's side listens (UDP).
type Candidate struct {
	Kind string // one of the above, or unknown: lower-case letters, digits and "-", at most 16
	Addr netip.AddrPort
}

// New returns an invitation with a fresh id and file secret that lives for
// life from now on. The caller adds candidates and the certificate hash.
// A life of zero means [DefaultLife]; it is rounded to whole seconds.
func New(user string, life time.Duration, now time.Time) (*Invitation, error) {
	if life == 0 {
		life = DefaultLife
	}
	created := now.UTC().Truncate(time.Second)
	inv := &Invitation{
		Version: Version,
		User:    user,
		Created: created,
		Expires: created.Add(life.Round(time.Second)),
	}
	rand.Read(inv.ID[:]) // never fails: crypto/rand ends the program instead
	rand.Read(inv.FileSecret[:])
	return inv, inv.header()
}

// Life returns how long the invitation lasts from its creation on.
func (inv *Invitation) Life() time.Duration { return inv.Expires.Sub(inv.Created) }

// String names the invitation without its secrets.
func (inv Invitation) String() string {
	return fmt.Sprintf("invitation %x of %q, until %s", inv.ID[:4], inv.User, inv.Expires.Format(time.RFC3339))
}

// GoString is String: %#v must not show secrets either.
func (inv Invitation) GoString() string { return inv.String() }

// LogValue implements slog.LogValuer without secrets.
func (inv Invitation) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("id", fmt.Sprintf("%x", inv.ID[:4])),
		slog.Time("expires", inv.Expires),
		slog.Int("candidates", len(inv.Candidates)),
	)
}

// header validates the fields that New sets.
func (inv *Invitation) header() error {
	var errs []error
	if inv.Version != Version {
		errs = append(errs, fmt.Errorf("version %d, want %d", inv.Version, Version))
	}
	if life := inv.Life(); life <= 0 || life > MaxLife {
		errs = append(errs, fmt.Errorf("life of %v, want up to %v", life, MaxLife))
	}
	if !wholeSecond(inv.Created) || !wholeSecond(inv.Expires) {
		errs = append(errs, errors.New("times must be whole seconds within the years 1 to 9999"))
	}
	if err := checkUser(inv.User); err != nil {
		errs = append(errs, err)
	}
	return wrapInvalid(errs)
}

// validate reports every problem of an invitation that is to be sealed.
func (inv *Invitation) validate() error {
	var errs []error
	if err := inv.header(); err != nil {
		errs = append(errs, errors.Unwrap(err))
	}
	if inv.FileSecret == [16]byte{} {
		errs = append(errs, errors.New("no file secret")) // no API path without a secret
	}
	if inv.CertHash == [32]byte{} {
		errs = append(errs, errors.New("no certificate hash"))
	}
	if n := len(inv.Candidates); n < 1 || n > MaxCandidates {
		errs = append(errs, fmt.Errorf("%d candidates, want 1 to %d", n, MaxCandidates))
	}
	for i, c := range inv.Candidates {
		if err := c.check(); err != nil {
			errs = append(errs, fmt.Errorf("candidate %d: %w", i, err))
		}
	}
	return wrapInvalid(errs)
}

func wrapInvalid(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("invalid invitation: %w", errors.Join(errs...))
}

func (c Candidate) check() error {
	if n := len(c.Kind); n < 1 || n > 16 {
		return fmt.Errorf("kind of %d bytes, want 1 to 16", n)
	}
	for _, r := range []byte(c.Kind) {
		if !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-') {
			return fmt.Errorf("kind %q", c.Kind)
		}
	}
	a := c.Addr.Addr()
	switch {
	case !c.Addr.IsValid() || c.Addr.Port() == 0:
		return errors.New("no address and port")
	case a.Zone() != "":
		return errors.New("an address with a zone means nothing elsewhere")
	case a.Is4In6():
		return errors.New("an IPv4 address in IPv6 form")
	case a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("%v is no unicast address", a)
	}
	return nil
}

// checkUser admits any printable name: it is shown to the Helper.
func checkUser(name string) error {
	if len(name) > MaxUser {
		return fmt.Errorf("user name of %d bytes, want up to %d", len(name), MaxUser)
	}
	if !utf8.ValidString(name) {
		return errors.New("user name is not UTF-8")
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("user name has the character %U", r)
		}
	}
	return nil
}

func wholeSecond(t time.Time) bool {
	return t.Nanosecond() == 0 && t.UTC().Year() >= 1 && t.UTC().Year() <= 9999
}
