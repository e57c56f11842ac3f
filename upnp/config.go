package upnp

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Network is what kind of network the host is on. It decides whether routers
// may be asked at all.
type Network uint8

// Networks. The zero value is a home.
const (
	Private Network = iota // a home: everything is allowed
	Public                 // a café: not one packet is sent
	Domain                 // an office: mapping is allowed
)

var networkNames = [...]string{"private", "public", "domain"}

// String returns the name that ParseNetwork reads.
func (n Network) String() string {
	if int(n) < len(networkNames) {
		return networkNames[n]
	}
	return fmt.Sprintf("network %d", uint8(n))
}

// ParseNetwork reads "private", "public" or "domain".
func ParseNetwork(s string) (Network, error) {
	for i, name := range networkNames {
		if s == name {
			return Network(i), nil
		}
	}
	return 0, fmt.Errorf("upnp: no such network: %q (private, public, domain)", s)
}

// Lease times of Request and Config.
const (
	DefaultLease = time.Hour
	MinLease     = 2 * time.Minute // what servers grant at least (RFC 6887, 15)
	MaxLease     = 24 * time.Hour
)

// Config is a Mapper's configuration. The zero value maps on a private network
// without a journal.
type Config struct {
	// Network is the kind of network; Public forbids everything.
	Network Network
	// Journal is a directory of the Mapper's own, made if it is missing, where
	// mappings are written down before they are made. Without one, what a
	// killed process leaves lives until its lease ends, and routers that know
	// only permanent mappings are not asked for any.
	Journal string
	// Lease is how long a mapping lives without renewal, where the Request
	// does not say: MinLease to MaxLease, 0 for DefaultLease.
	Lease time.Duration
	// Host is the host's network; nil is the system's.
	Host Host
	// Rand yields nonces and names; nil is crypto/rand.
	Rand io.Reader
	// Logger hears of mappings (Info) and of refused answers (Debug); nil
	// discards.
	Logger *slog.Logger
}

// withDefaults returns c with its defaults filled in, or every problem.
func (c Config) withDefaults() (Config, error) {
	var problems []error
	if int(c.Network) >= len(networkNames) {
		problems = append(problems, fmt.Errorf("upnp: no such network: %d", c.Network))
	}
	if err := checkLease(c.Lease); err != nil {
		problems = append(problems, err)
	}
	if c.Lease == 0 {
		c.Lease = DefaultLease
	}
	if c.Host == nil {
		c.Host = System()
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, errors.Join(problems...)
}

func checkLease(d time.Duration) error {
	if d != 0 && (d < MinLease || d > MaxLease) {
		return fmt.Errorf("upnp: lease %v is not between %v and %v", d, MinLease, MaxLease)
	}
	return nil
}
