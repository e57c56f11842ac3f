package sessionlog

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

const (
	// MaxSize bounds one log file, in bytes.
	MaxSize = 10 << 20

	// NameLayout names the file: YYYYMMDDHHMMSS, 24-hour, as the source does.
	NameLayout = "20060102150405"

	header  = `<?xml version="1.0" encoding="UTF-8"?>` + "\n<" + Session + ">\n"
	trailer = "</" + Session + ">\n"

	// reserve is kept free for the one record that says the log is full.
	reserve = 1024
	// maxSameSecond bounds the search for a free name; more sessions than
	// this do not start in one second.
	maxSameSecond = 100
)

// ErrFull reports a record that was not kept because the file has reached its
// bound. The log stays well-formed and says so in its last record.
var ErrFull = errors.New("sessionlog: the log is full")

// Config of a log.
type Config struct {
	// Dir holds the logs; empty means [DefaultDir]. It is made with mode
	// 0700 where it is missing.
	Dir string
	// MaxSize in bytes bounds the file; 0 means [MaxSize], more is refused.
	MaxSize int64
	// Now names the file; the zero time means the present moment.
	Now time.Time
	// Logger hears of repairs; nil discards.
	Logger *slog.Logger
}

// A Log is one open log file. Its methods may be called from any goroutine.
type Log struct {
	path string
	max  int64

	mu      sync.Mutex
	f       file  // nil once closed
	end     int64 // where the closing tag begins
	full    bool
	failed  error
	buf     []byte
	syncing chan error // result of the sync under way, nil if there is none
}

// file is what a Log needs of an *os.File; tests hand in one that fails.
type file interface {
	WriteAt(b []byte, off int64) (int, error)
	Sync() error
	Close() error
}

// Create makes the directory if need be, repairs logs in it that an earlier
// crash tore, and opens a new log named after the present second (-2, -3, ...
// where that name is taken). The file is new (O_EXCL), mode 0600, and is
// well-formed when Create returns.
func Create(c Config) (*Log, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.MaxSize == 0 {
		c.MaxSize = MaxSize
	}
	if least := int64(len(header) + len(trailer) + reserve); c.MaxSize < least || c.MaxSize > MaxSize {
		return nil, fmt.Errorf("sessionlog: size %d is not in %d to %d", c.MaxSize, least, MaxSize)
	}
	if c.Now.IsZero() {
		c.Now = time.Now()
	}
	dir := c.Dir
	if dir == "" {
		var err error
		if dir, err = DefaultDir(); err != nil {
			return nil, err
		}
	}
	if err := makeDir(dir, c.Dir == ""); err != nil {
		return nil, fmt.Errorf("sessionlog: %w", err)
	}
	repaired, err := RepairDir(dir, c.Now)
	for _, name := range repaired {
		c.Logger.Info("repaired a session log", "file", name)
	}
	if err != nil {
		c.Logger.Warn("cannot repair every session log", "dir", dir, "err", err)
	}
	f, err := createFile(dir, c.Now)
	if err != nil {
		return nil, fmt.Errorf("sessionlog: %w", err)
	}
	lock(f)
	l, err := newLog(f, f.Name(), c.MaxSize)
	if err != nil {
		f.Close()
		os.Remove(f.Name())
		return nil, err
	}
	return l, nil
}

func newLog(f file, path string, max int64) (*Log, error) {
	l := &Log{path: path, max: max, f: f, end: int64(len(header))}
	if _, err := f.WriteAt([]byte(header+trailer), 0); err != nil {
		return nil, fmt.Errorf("sessionlog: %w", err)
	}
	if err := f.Sync(); err != nil {
		return nil, fmt.Errorf("sessionlog: %w", err)
	}
	return l, nil
}

// Path returns the name of the file.
func (l *Log) Path() string { return l.path }

// Write appends one record and has it synced to the disk. It waits for the sync
// of the record before, not for its own: the session goes on meanwhile, for a
// sync takes tens of milliseconds on a busy disk, and a power cut still costs
// one record at most (RR-07). After an error of the disk every further Write
// returns that error; after [ErrFull] the log is closed to records. Either way
// the session may go on (RR-06).
func (l *Log) Write(r Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.f == nil:
		return fs.ErrClosed
	case l.failed != nil:
		return l.failed
	case l.full:
		return ErrFull
	}
	if err := l.await(); err != nil {
		return l.fail(err)
	}
	b, err := appendRecord(l.buf[:0], r)
	if err != nil {
		return err
	}
	if l.end+int64(len(b)+len(trailer)) > l.max-reserve {
		l.full = true
		b, err = appendRecord(b[:0], Record{Time: r.Time, Event: SessionLogFull, Text: "The session log has reached " + strconv.FormatInt(l.max, 10) + " bytes; later events are not in it."})
		if err != nil {
			return err
		}
	}
	n := len(b)
	b = append(b, trailer...)
	l.buf = b
	if _, err := l.f.WriteAt(b, l.end); err != nil {
		return l.fail(err)
	}
	l.end += int64(n)
	l.sync()
	if l.full {
		return ErrFull
	}
	return nil
}

// sync starts to bring to the disk what was written.
func (l *Log) sync() {
	f, done := l.f, make(chan error, 1)
	l.syncing = done
	go func() { done <- f.Sync() }()
}

// await waits until everything written is on the disk.
func (l *Log) await() error {
	if l.syncing == nil {
		return nil
	}
	err := <-l.syncing
	l.syncing = nil
	return err
}

// fail remembers the disk's error and tries to leave the file well-formed: the
// closing tag fits where it stood before, and is written before anything is cut
// off: what is cut off a full disk may not come back.
func (l *Log) fail(err error) error {
	l.failed = fmt.Errorf("sessionlog: %w", err)
	if _, err := l.f.WriteAt([]byte(trailer), l.end); err != nil {
		return l.failed
	}
	if t, ok := l.f.(interface{ Truncate(int64) error }); ok {
		t.Truncate(l.end + int64(len(trailer)))
	}
	return l.failed
}

// Close closes the file once everything is on the disk, and returns the error
// of its last sync or of closing. Calling it again does nothing.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	err := errors.Join(l.await(), l.f.Close())
	l.f = nil
	return err
}

func createFile(dir string, now time.Time) (*os.File, error) {
	base := filepath.Join(dir, now.Format(NameLayout))
	for n := 1; ; n++ {
		name := base + ".xml"
		if n > 1 {
			name = base + "-" + strconv.Itoa(n) + ".xml"
		}
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil || !errors.Is(err, fs.ErrExist) || n == maxSameSecond {
			return f, err
		}
	}
}
