package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Record is one entry in its file, held by this process. It is not safe for
// concurrent use.
type Record struct {
	Entry Entry // as it is in the file
	path  string
	file  *os.File // open and locked
}

// unfinished ends the names of files that are being written.
const unfinished = ".new"

// Update replaces the entry. The old one or the new one is in the directory at
// every moment.
func (r *Record) Update(e Entry) error {
	e.Schema = 1
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	temp := r.path + unfinished
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	// Locked before it has its name: no other process can take it for an orphan.
	lock(f)
	_, err = f.Write(append(b, '\n'))
	if err == nil && e.Expires.IsZero() {
		// Only a permanent mapping needs to be remembered across a power cut,
		// and the disk may take longer than the router.
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(temp, r.path)
	}
	if err != nil {
		f.Close()
		os.Remove(temp)
		return fmt.Errorf("journal: %w", err)
	}
	r.Close()
	r.file, r.Entry = f, e
	return nil
}

// Remove forgets the entry.
func (r *Record) Remove() error {
	err := os.Remove(r.path)
	r.Close()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// Close gives the record up; its file stays, as an orphan.
func (r *Record) Close() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}

// claim takes a file over whose process is gone. It reports false for one that
// is held, gone or damaged; a damaged one is removed.
func (r *Record) claim() (bool, error) {
	f, err := os.OpenFile(r.path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("journal: %w", err)
	}
	if !lock(f) {
		f.Close()
		return false, nil
	}
	// Its owner may have replaced or removed it before the lock was ours.
	if now, err := os.Stat(r.path); err != nil || !same(f, now) {
		f.Close()
		return false, nil
	}
	b, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err == nil {
		r.Entry, err = Parse(b)
	}
	r.file = f
	if err != nil {
		return false, r.Remove()
	}
	return true, nil
}

func same(f *os.File, now fs.FileInfo) bool {
	held, err := f.Stat()
	return err == nil && os.SameFile(held, now)
}
