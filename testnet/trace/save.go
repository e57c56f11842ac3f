package trace

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Names of the files that Save writes.
const (
	FilePcapng  = "trace.pcapng"
	FileLadder  = "ladder.mmd"
	FileText    = "trace.txt"
	FileJSON    = "trace.jsonl"
	FolderLines = "lines" // one pcapng file for each line
)

// Save writes the trace in every form into a folder, which it makes: pcapng
// with all lines and in FolderLines for each, ladder, text and JSON. Files of
// the same names are replaced, each once its successor is whole.
func (r *Recorder) Save(dir string) error { return r.Trace(Filter{}).Save(dir) }

// Save is Save of Recorder for a filtered trace.
func (t *Trace) Save(dir string) error {
	for _, f := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{FilePcapng, t.WritePcapng}, {FileLadder, t.WriteMermaid}, {FileText, t.WriteText}, {FileJSON, t.WriteJSON},
	} {
		if err := save(filepath.Join(dir, f.name), f.write); err != nil {
			return err
		}
	}
	_, err := t.SaveLines(filepath.Join(dir, FolderLines))
	return err
}

// lineFile is what SaveLines calls its files.
var lineFile = regexp.MustCompile(`^\d{2,3}-.+\.pcapng$`)

// SaveLines writes a pcapng file for each line into a folder, which it makes,
// and returns their paths. Those of an earlier trace go: it may have had other
// lines.
func (t *Trace) SaveLines(dir string) ([]string, error) {
	old, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("trace: %w", err)
	}
	for _, f := range old {
		if !lineFile.MatchString(f.Name()) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
			return nil, fmt.Errorf("trace: %w", err)
		}
	}
	var paths []string
	for i, line := range t.Lines() {
		// The number keeps apart what the file system would not.
		path := filepath.Join(dir, fmt.Sprintf("%02d-%s.pcapng", i+1, fileName(line)))
		if err := save(path, func(w io.Writer) error { return t.WritePcapngLine(w, line) }); err != nil {
			return paths, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// save writes a file that is there as a whole or not at all.
func save(path string, write func(io.Writer) error) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("trace: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".trace-*")
	if err != nil {
		return fmt.Errorf("trace: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = fmt.Errorf("trace: %s: %w", path, err)
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// fileName makes a name fit for any file system.
func fileName(s string) string {
	return shorten(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
			return r
		}
		return '-'
	}, s), 100)
}

// shorten cuts a string to at most n bytes between characters.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
