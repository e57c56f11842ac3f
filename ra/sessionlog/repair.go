package sessionlog

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

var nameRE = regexp.MustCompile(`^[0-9]{14}(-[0-9]{1,3})?\.xml$`)

// RepairDir looks at every session log in dir and repairs those whose end is
// torn: a power cut can leave a record half written (RR-07). A log that a
// living session holds open is left alone. It returns the names it repaired
// and the joined errors of those it could not.
func RepairDir(dir string, now time.Time) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var (
		done []string
		errs []error
	)
	for _, e := range entries {
		if !e.Type().IsRegular() || !nameRE.MatchString(e.Name()) {
			continue
		}
		changed, err := repairFile(filepath.Join(dir, e.Name()), now)
		if changed {
			done = append(done, e.Name())
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return done, errors.Join(errs...)
}

func repairFile(name string, now time.Time) (bool, error) {
	f, err := os.Open(name)
	if err != nil {
		return false, err
	}
	whole, err := endsWell(f)
	f.Close()
	if whole || err != nil {
		return false, err
	}
	if f, err = os.OpenFile(name, os.O_RDWR, 0); err != nil {
		return false, err
	}
	defer f.Close()
	if !lock(f) {
		return false, nil
	}
	b, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil || len(b) > MaxSize {
		return false, errors.Join(err, os.ErrInvalid)
	}
	fixed := Repair(b, now)
	// The kept part is the file's own beginning, so writing the tail and
	// cutting after it never loses a whole record, wherever power fails.
	if _, err := f.WriteAt(fixed, 0); err != nil {
		return false, err
	}
	if err := f.Truncate(int64(len(fixed))); err != nil {
		return false, err
	}
	return true, f.Sync()
}

func endsWell(f *os.File) (bool, error) {
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	n := info.Size()
	if n < int64(len(header)+len(trailer)) {
		return false, nil
	}
	end := make([]byte, len(trailer))
	if _, err := f.ReadAt(end, n-int64(len(end))); err != nil {
		return false, err
	}
	return string(end) == trailer, nil
}

// Repair returns torn with its last, incomplete record cut off, a record that
// says so and the closing tag. Whole records are kept unchanged. It is exact
// because a record is one line: appendRecord escapes every line feed of a text.
func Repair(torn []byte, now time.Time) []byte {
	out := []byte(header)
	rest, ok := bytes.CutPrefix(torn, []byte(header))
	for ok {
		line, more, full := bytes.Cut(rest, []byte("\n"))
		if !full || !wholeRecord(line) {
			break
		}
		out = append(append(out, line...), '\n')
		rest = more
	}
	b, err := appendRecord(out, Record{Time: now, Event: SessionLogRepaired, Text: "The program ended without closing this log; at most one record is missing."})
	if err != nil {
		b = out
	}
	return append(b, trailer...)
}

func wholeRecord(line []byte) bool {
	recs, err := Read(bytes.NewReader(append(append([]byte("<"+Session+">"), line...), trailer...)))
	return err == nil && len(recs) == 1
}
