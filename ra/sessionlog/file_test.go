package sessionlog

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func create(t *testing.T, c Config) *Log {
	t.Helper()
	l, err := Create(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func readFile(t *testing.T, name string) []Record {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	recs, err := Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return recs
}

// the file is new, 0600 in a 0700 directory, named after its second;
// a second session in that second gets -2.
func TestCreate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "Documents", DirName)
	a := create(t, Config{Dir: dir, Now: at(0)})
	b := create(t, Config{Dir: dir, Now: at(0)})
	c := create(t, Config{Dir: dir, Now: at(0)})
	for i, l := range []*Log{a, b, c} {
		want := "20060809152400" + []string{"", "-2", "-3"}[i] + ".xml"
		if got := filepath.Base(l.Path()); got != want {
			t.Errorf("log %d is %s, want %s", i, got, want)
		}
	}
	if runtime.GOOS == "windows" {
		return // no such modes there
	}
	for name, want := range map[string]os.FileMode{dir: 0o700, a.Path(): 0o600, b.Path(): 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, want %v (%v)", name, info.Mode().Perm(), want, err)
		}
	}
}

// a link planted under the log's name is not followed.
func TestPlantedLinkIsNotFollowed(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(t.TempDir(), "victim")
	for _, name := range []string{"20060809152400.xml", "20060809152400-2.xml"} {
		if err := os.Symlink(victim, filepath.Join(dir, name)); err != nil {
			t.Skip("no symbolic links here:", err)
		}
	}
	l := create(t, Config{Dir: dir, Now: at(0)})
	if got := filepath.Base(l.Path()); got != "20060809152400-3.xml" {
		t.Errorf("log is %s", got)
	}
	if _, err := os.Stat(victim); err == nil {
		t.Error("the link was followed")
	}
}

// RR-07: after every record the file is well-formed and complete, with no
// Close: a kill -9 at that moment loses nothing.
func TestEveryRecordIsThrough(t *testing.T) {
	l := create(t, Config{Dir: t.TempDir(), Now: at(0)})
	if got := readFile(t, l.Path()); len(got) != 0 {
		t.Fatalf("a new log has %d records", len(got))
	}
	for i := range 20 {
		if err := l.Write(Record{Time: at(i), Event: ChatMessage, Text: fmt.Sprint("line ", i)}); err != nil {
			t.Fatal(err)
		}
		got := readFile(t, l.Path())
		if len(got) != i+1 || got[i].Text != fmt.Sprint("line ", i) {
			t.Fatalf("after record %d the file has %v", i, got)
		}
	}
}

// tearing is a file in memory whose n-th byte written is the last: a power cut.
type tearing struct {
	b    []byte
	left int
}

var errDisk = errors.New("no space left on device")

func (f *tearing) WriteAt(b []byte, off int64) (int, error) {
	n := min(len(b), f.left)
	f.left -= n
	if end := int(off) + n; end > len(f.b) {
		f.b = append(f.b, make([]byte, end-len(f.b))...)
	}
	copy(f.b[off:], b[:n])
	if n < len(b) {
		return n, errDisk
	}
	return n, nil
}
func (f *tearing) Sync() error  { return nil }
func (f *tearing) Close() error { return nil }

// RR-06, RR-07: a crash or a full disk at every single byte: the repaired log
// holds every record that was acknowledged, and at most the torn one is lost.
func TestTornAtEveryByte(t *testing.T) {
	texts := []string{"first", "</SESSION>\n", "third"}
	for cut := 0; ; cut++ {
		f := &tearing{left: cut}
		acked := 0
		l, err := newLog(f, "x", MaxSize)
		for i := 0; err == nil && i < len(texts); i++ {
			if err = l.Write(Record{Time: at(i), Event: ChatMessage, Text: texts[i]}); err == nil {
				acked++
			}
		}
		if err == nil {
			if cut < 300 {
				t.Fatalf("all was written in %d bytes", cut)
			}
			return
		}
		if !errors.Is(err, errDisk) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		recs, err := Read(bytes.NewReader(Repair(f.b, at(9))))
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		// The torn record may be whole already, where the cut is in the tag behind it.
		if n := len(recs) - 1; n != acked && n != acked+1 {
			t.Fatalf("cut at %d: %d records acknowledged, %d kept", cut, acked, n)
		}
		for i, r := range recs[:len(recs)-1] {
			if r.Text != texts[i] {
				t.Fatalf("cut at %d: record %d is %q", cut, i, r.Text)
			}
		}
		if recs[len(recs)-1].Event != SessionLogRepaired {
			t.Fatalf("cut at %d: the repair is not recorded", cut)
		}
	}
}

// RR-06: a failed disk is reported by every further Write, and leaves the file
// well-formed.
func TestFailedDisk(t *testing.T) {
	l := create(t, Config{Dir: t.TempDir(), Now: at(0)})
	if err := l.Write(Record{Time: at(0), Event: ChatMessage, Text: "kept"}); err != nil {
		t.Fatal(err)
	}
	real := l.f.(*os.File)
	l.f = failing{real}
	for range 2 {
		if err := l.Write(Record{Time: at(1), Event: ChatMessage, Text: "lost"}); !errors.Is(err, errDisk) {
			t.Fatalf("got %v", err)
		}
	}
	l.f = real
	if got := readFile(t, l.Path()); len(got) != 1 || got[0].Text != "kept" {
		t.Errorf("the file has %v", got)
	}
}

type failing struct{ *os.File }

// Truncate may not cut anything off before the closing tag stands: it would
// need space again.
func (f failing) Truncate(size int64) error {
	b, err := os.ReadFile(f.Name())
	if err != nil || int64(len(b)) < size || !strings.HasSuffix(string(b[:size]), trailer) {
		return errDisk
	}
	return f.File.Truncate(size)
}

func (f failing) WriteAt(b []byte, off int64) (int, error) {
	if len(b) == len(trailer) { // the closing tag alone needs no new space
		return f.File.WriteAt(b, off)
	}
	n, _ := f.File.WriteAt(b[:len(b)/2], off)
	return n, errDisk
}

// RR-07: no record is written before the one ahead of it is on the disk, so that
// a power cut costs one at most; the writer does not wait for its own.
func TestOneRecordUnsynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &slow{tearing: tearing{left: MaxSize}, takes: time.Second}
		l, err := newLog(f, "x", MaxSize)
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		for i := range 3 {
			if err := l.Write(Record{Time: at(i), Event: ChatMessage}); err != nil {
				t.Fatal(err)
			}
			if took, want := time.Since(begun), time.Duration(i)*f.takes; took != want {
				t.Errorf("record %d: written after %v, want %v", i, took, want)
			}
			if onDisk := f.onDisk(); onDisk < i {
				t.Errorf("record %d: only %d are on the disk", i, onDisk)
			}
		}
		if err := l.Close(); err != nil || f.onDisk() != 3 {
			t.Errorf("closed with %v, %d records are on the disk", err, f.onDisk())
		}
	})
}

// slow is a file whose sync takes its time.
type slow struct {
	tearing
	takes time.Duration
	disk  atomic.Value // string
	fails error
}

func (f *slow) Sync() error {
	now := string(f.b)
	time.Sleep(f.takes)
	f.disk.Store(now)
	return f.fails
}

// onDisk counts the records on the disk.
func (f *slow) onDisk() int { return strings.Count(f.disk.Load().(string), ChatMessage) }

// RR-06: a sync that fails is told by the next Write, or by Close.
func TestFailedSync(t *testing.T) {
	f := &slow{tearing: tearing{left: MaxSize}}
	l, err := newLog(f, "x", MaxSize)
	if err != nil {
		t.Fatal(err)
	}
	f.fails = errDisk
	if err := l.Write(Record{Time: at(0), Event: ChatMessage}); err != nil {
		t.Errorf("the record itself was written: %v", err)
	}
	for range 2 {
		if err := l.Write(Record{Time: at(1), Event: ChatMessage}); !errors.Is(err, errDisk) {
			t.Errorf("after a failed sync: %v", err)
		}
	}
	l, _ = newLog(&slow{tearing: tearing{left: MaxSize}}, "x", MaxSize)
	l.f.(*slow).fails = errDisk
	if err := errors.Join(l.Write(Record{Time: at(0), Event: ChatMessage}), l.Close()); !errors.Is(err, errDisk) {
		t.Errorf("closed after a failed sync: %v", err)
	}
}

// RR-07: the next start repairs a torn log, leaves whole ones, ones of a
// living session, and files that are no logs.
func TestCreateRepairs(t *testing.T) {
	dir := t.TempDir()
	torn := header + `<CHAT_MESSAGE TIME="3:24 PM" DATE="Wednesday, August 09, 2006" EVENT="kept"/>` + "\n<CHAT_MESS"
	for name, s := range map[string]string{
		"20060101000000.xml": torn,
		"20060101000001.xml": torn + strings.Repeat("\x00", 64),
		"20060101000002.xml": "",
		"notes.xml":          torn,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	living := create(t, Config{Dir: dir, Now: at(0)})
	if _, err := living.f.(*os.File).WriteAt([]byte("<CHAT_ME"), living.end); err != nil { // in the middle of a write
		t.Fatal(err)
	}
	create(t, Config{Dir: dir, Now: at(1)})

	for name, want := range map[string]int{"20060101000000.xml": 2, "20060101000001.xml": 2, "20060101000002.xml": 1} {
		got := readFile(t, filepath.Join(dir, name))
		if len(got) != want || got[want-1].Event != SessionLogRepaired {
			t.Errorf("%s: %v", name, got)
		}
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "notes.xml")); string(b) != torn {
		t.Error("a file that is no session log was changed")
	}
	if runtime.GOOS != "windows" {
		if b, _ := os.ReadFile(living.Path()); !bytes.HasSuffix(b, []byte("\n<CHAT_MEN>\n")) {
			t.Errorf("a living log was changed: %q", b)
		}
	}
	living.f.(*os.File).WriteAt([]byte(trailer), living.end)
}

// the log ends at its bound, well-formed, and says so.
func TestFullLog(t *testing.T) {
	const max = 8 << 10
	l := create(t, Config{Dir: t.TempDir(), Now: at(0), MaxSize: max})
	n := 0
	for ; n < 1000; n++ {
		if err := l.Write(Record{Time: at(0), Event: ChatMessage, Text: strings.Repeat("<", 50)}); err != nil {
			if !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			break
		}
	}
	if err := l.Write(Record{Time: at(0), Event: ConnectionEnded}); !errors.Is(err, ErrFull) {
		t.Errorf("a full log took a record: %v", err)
	}
	got := readFile(t, l.Path())
	if len(got) != n+1 || got[n].Event != SessionLogFull || n < 10 {
		t.Errorf("%d records, the last %v, after %d writes", len(got), got[len(got)-1], n)
	}
	if info, _ := os.Stat(l.Path()); info.Size() > max {
		t.Errorf("%d bytes, bound %d", info.Size(), max)
	}
	if _, err := Create(Config{Dir: t.TempDir(), MaxSize: MaxSize + 1}); err == nil {
		t.Error("a bound over MaxSize was taken")
	}
}

func TestClosedLog(t *testing.T) {
	l := create(t, Config{Dir: t.TempDir()})
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	if err := l.Write(Record{Event: ChatMessage}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestDocumentsFolder(t *testing.T) {
	home := filepath.FromSlash("/home/u")
	for _, tt := range []struct{ name, dirs, want string }{
		{"below home", "# comment\nXDG_MUSIC_DIR=\"$HOME/M\"\nXDG_DOCUMENTS_DIR=\"$HOME/Papers\"\n", "/home/u/Papers"},
		{"absolute", "XDG_DOCUMENTS_DIR=\"/srv/docs\"", "/srv/docs"},
		{"relative is ignored", "XDG_DOCUMENTS_DIR=\"docs\"", "/home/u/Documents"},
		{"absent", "XDG_MUSIC_DIR=\"$HOME/M\"", "/home/u/Documents"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if runtime.GOOS == "windows" {
				t.Skip("user-dirs.dirs holds Unix paths")
			}
			file := filepath.Join(t.TempDir(), "user-dirs.dirs")
			if err := os.WriteFile(file, []byte(tt.dirs), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := documents(home, file); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	if got := documents(home, filepath.Join(t.TempDir(), "none")); got != filepath.Join(home, "Documents") {
		t.Errorf("without the file: %s", got)
	}
}

func BenchmarkWrite(b *testing.B) {
	l, err := Create(Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	r := Record{Time: time.Now(), Event: ChatMessage, Text: "hello"}
	for b.Loop() {
		if err := l.Write(r); err != nil {
			b.Fatal(err)
		}
	}
}
