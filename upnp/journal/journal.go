// Package journal remembers port mappings across the death of their process.
//
// Each mapping is one small file in a directory of the user's own, written
// before the router is asked and removed after the router has forgotten. While
// its process lives the file is locked; a file that is not locked is what a
// killed process left behind, and [Journal.Orphans] hands it out, once.
//
//	j, err := journal.Open(dir)
//	r, err := j.Create(entry)   // before the router is asked
//	err = r.Update(entry)       // when it granted another port
//	err = r.Remove()            // when the mapping is gone
//
// Left out: systems without flock(2), where [Open] says errors.ErrUnsupported.
package journal

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Bounds of what is read back.
const (
	MaxFile    = 4096 // octets of one file
	MaxEntries = 64   // files in one directory
)

// Entry is what has to be known to remove a mapping.
type Entry struct {
	Schema      int            `json:"schema"` // 1
	Via         string         `json:"via"`    // PCP, NAT-PMP or UPnP
	Protocol    string         `json:"protocol"`
	Gateway     netip.Addr     `json:"gateway"`
	Internal    netip.AddrPort `json:"internal"`
	External    uint16         `json:"external"`
	Nonce       string         `json:"nonce,omitempty"`       // PCP, in hexadecimal
	Description string         `json:"description,omitempty"` // UPnP
	Pinhole     string         `json:"pinhole,omitempty"`     // UPnP on IPv6: the unique id
	Expires     time.Time      `json:"expires,omitzero"`      // zero: never
	// Asked is that the router has not answered yet: perhaps there is no such
	// mapping.
	Asked bool `json:"asked,omitempty"`
	// Lasting entries were made to outlive their process: they are no orphans
	// before they expire.
	Lasting bool `json:"lasting,omitempty"`
}

// Expired reports whether the router has forgotten the mapping by itself.
func (e *Entry) Expired(now time.Time) bool { return !e.Expires.IsZero() && now.After(e.Expires) }

// Parse reads an entry as it is in a file.
func Parse(b []byte) (Entry, error) {
	var e Entry
	if len(b) > MaxFile {
		return e, fmt.Errorf("journal: longer than %d octets", MaxFile)
	}
	if err := json.Unmarshal(b, &e); err != nil {
		return Entry{}, fmt.Errorf("journal: %w", err)
	}
	switch {
	case e.Schema != 1:
		return Entry{}, fmt.Errorf("journal: schema %d", e.Schema)
	case e.Protocol != "TCP" && e.Protocol != "UDP":
		return Entry{}, fmt.Errorf("journal: protocol %q", e.Protocol)
	case !e.Gateway.IsValid() || !e.Internal.IsValid():
		return Entry{}, errors.New("journal: an address is missing")
	}
	return e, nil
}

// Journal is a directory of entries.
type Journal struct{ dir string }

const suffix = ".mapping"

// Open returns the journal in a directory, which it makes if it is missing.
// Only its owner may read it: a nonce is a key.
func Open(dir string) (*Journal, error) {
	if !supported {
		return nil, fmt.Errorf("journal: %w", errors.ErrUnsupported)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	return &Journal{dir}, nil
}

// ErrFull: there are MaxEntries entries already.
var ErrFull = errors.New("journal: full")

// Create writes a new entry. It is there when Create returns, for a process
// that is killed; one that never expires is on the disk, for a power cut. In a
// full journal it takes the place of one that has expired or, failing that, of
// those that were only asked for and will expire.
func (j *Journal) Create(e Entry) (*Record, error) {
	for _, dispensable := range []func(*Entry) bool{
		func(e *Entry) bool { return e.Expired(time.Now()) },
		func(e *Entry) bool { return e.Asked && !e.Expires.IsZero() },
		nil,
	} {
		files, err := os.ReadDir(j.dir)
		if err == nil && len(files) < MaxEntries {
			break
		} else if err != nil || dispensable == nil {
			return nil, errors.Join(err, ErrFull)
		}
		old, err := j.scan(dispensable)
		for _, r := range old {
			err = errors.Join(err, r.Remove())
		}
		if err != nil {
			return nil, err
		}
	}
	r := &Record{path: filepath.Join(j.dir, rand.Text()+suffix)}
	if err := r.Update(e); err != nil {
		return nil, err
	}
	return r, nil
}

// Orphans returns the entries that no living process holds, and holds them
// from now on: each is for the caller to Remove or Close. Files that cannot be
// read back are removed. At most MaxEntries are looked at.
func (j *Journal) Orphans() ([]*Record, error) {
	return j.scan(func(e *Entry) bool { return !e.Lasting || e.Expired(time.Now()) })
}

// Left returns the entries that no living process holds, lasting or not, on the
// same terms.
func (j *Journal) Left() ([]*Record, error) {
	return j.scan(func(*Entry) bool { return true })
}

// Entries returns what is written, also by living processes, to look at.
func (j *Journal) Entries() ([]Entry, error) {
	paths, err := j.paths()
	var out []Entry
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			continue // gone meanwhile
		}
		b, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
		f.Close()
		if e, bad := Parse(b); err == nil && bad == nil {
			out = append(out, e)
		}
	}
	return out, err
}

// paths returns the files of entries.
func (j *Journal) paths() ([]string, error) {
	files, err := os.ReadDir(j.dir)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	var out []string
	for _, f := range files {
		if strings.HasSuffix(f.Name(), suffix+unfinished) {
			j.tidy(f)
		}
		if strings.HasSuffix(f.Name(), suffix) && f.Type().IsRegular() && len(out) < MaxEntries {
			out = append(out, filepath.Join(j.dir, f.Name()))
		}
	}
	return out, nil
}

func (j *Journal) scan(want func(*Entry) bool) ([]*Record, error) {
	paths, err := j.paths()
	if err != nil {
		return nil, err
	}
	var out []*Record
	for _, path := range paths {
		r := &Record{path: path}
		if ok, err := r.claim(); err != nil {
			return out, err
		} else if !ok {
			continue
		}
		if want(&r.Entry) {
			out = append(out, r)
		} else {
			r.Close()
		}
	}
	return out, nil
}

// tidy removes what a process did not come to name that was killed as it wrote.
func (j *Journal) tidy(f fs.DirEntry) {
	if info, err := f.Info(); err == nil && time.Since(info.ModTime()) > time.Minute {
		_ = os.Remove(filepath.Join(j.dir, f.Name()))
	}
}
