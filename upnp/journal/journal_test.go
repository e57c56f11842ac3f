package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func entry() Entry {
	return Entry{
		Via: "UPnP", Protocol: "UDP", Gateway: netip.MustParseAddr("192.168.1.1"), External: 40000,
		Internal: netip.MustParseAddrPort("192.168.1.2:3545"), Description: "shipworm abc",
	}
}

// child is what a nested run of this binary does: it makes an entry and waits
// to be killed.
const child = "SHIPWORM_JOURNAL_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(child); dir != "" {
		j, err := Open(dir)
		if err != nil {
			panic(err)
		}
		r, err := j.Create(entry())
		if err != nil {
			panic(err)
		}
		os.Stdout.WriteString("ready\n")
		// For ever would be a deadlock, which ends a Go program at once.
		_, _ = os.Stdin.Read(make([]byte, 1))
		r.Close()
		return
	}
	os.Exit(m.Run())
}

// U-09: what a killed process wrote is an orphan, what a living one holds is
// not.
func TestOrphans(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), child+"="+dir)
	out, err := cmd.StdoutPipe()
	if err == nil {
		_, err = cmd.StdinPipe() // which the child waits at
	}
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	j, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := orphans(t, j); len(got) != 0 {
		t.Errorf("%d orphans while their process lives", len(got))
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	got := orphans(t, j)
	if len(got) != 1 {
		t.Fatalf("%d orphans of a killed process, want 1", len(got))
	}
	want := entry()
	want.Schema = 1
	if diff := cmp.Diff(want, got[0].Entry, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})); diff != "" {
		t.Error(diff)
	}
	if again := orphans(t, j); len(again) != 0 {
		t.Error("an orphan was handed out twice")
	}
	if err := got[0].Remove(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func orphans(t *testing.T, j *Journal) []*Record {
	t.Helper()
	got, err := j.Orphans()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// U-09: an entry that changes stays held, and one that was made to last is no
// orphan until it has expired.
func TestUpdateAndLasting(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	e := entry()
	r, err := j.Create(e)
	if err != nil {
		t.Fatal(err)
	}
	e.External, e.Lasting, e.Expires = 40001, true, time.Now().Add(time.Hour).Round(0)
	if err := r.Update(e); err != nil {
		t.Fatal(err)
	}
	if got := orphans(t, j); len(got) != 0 {
		t.Error("held, but an orphan")
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("%d files", len(files))
	}
	r.Close()
	if got := orphans(t, j); len(got) != 0 {
		t.Error("lasting, but an orphan")
	}
	lasting, err := j.Left()
	if err != nil || len(lasting) != 1 || lasting[0].Entry.External != 40001 {
		t.Fatalf("%v, %v", lasting, err)
	}
	e.Expires = time.Now().Add(-time.Second)
	if err := lasting[0].Update(e); err != nil {
		t.Fatal(err)
	}
	lasting[0].Close()
	if got := orphans(t, j); len(got) != 1 {
		t.Error("expired, but no orphan")
	}
}

// A full journal takes new entries for what is of no use any more, and never
// for what may have to be removed from a router. U-08
func TestFull(t *testing.T) {
	later := time.Now().Add(time.Hour)
	granted, asked, permanent, expired := entry(), entry(), entry(), entry()
	granted.Expires, asked.Expires, expired.Expires = later, later, time.Now().Add(-time.Hour)
	asked.Asked, permanent.Asked = true, true
	for name, tt := range map[string]struct {
		spare Entry
		full  bool
	}{"granted": {granted, true}, "asked for": {asked, false}, "perhaps permanent": {permanent, true}, "expired": {expired, false}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			j, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			for i := range MaxEntries {
				e := granted
				if i == 7 {
					e = tt.spare
				}
				r, err := j.Create(e)
				if err != nil {
					t.Fatal(err)
				}
				if i == 7 || i%2 == 0 { // the others are held
					r.Close()
				}
			}
			if r, err := j.Create(granted); tt.full != errors.Is(err, ErrFull) || err == nil && r == nil {
				t.Errorf("%v", err)
			}
			if files, _ := os.ReadDir(dir); len(files) != MaxEntries {
				t.Errorf("%d files", len(files))
			}
		})
	}
}

// What a process was writing when it was killed does not pile up.
func TestUnfinished(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	old, young := filepath.Join(dir, "old.mapping.new"), filepath.Join(dir, "young.mapping.new")
	for _, path := range []string{old, young} {
		if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	hour := time.Now().Add(-time.Hour)
	if err := os.Chtimes(old, hour, hour); err != nil {
		t.Fatal(err)
	}
	orphans(t, j)
	if files, _ := os.ReadDir(dir); len(files) != 1 || files[0].Name() != filepath.Base(young) {
		t.Errorf("left: %v", files)
	}
}

// Files that are damaged or foreign do not stand in the way.
func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"a.mapping": "{", "b.mapping": "", "c.mapping": string(bytes.Repeat([]byte("x"), 9000)), "README": "mine"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := orphans(t, j); len(got) != 0 {
		t.Errorf("%d orphans", len(got))
	}
	files, _ := os.ReadDir(dir)
	if len(files) != 1 || files[0].Name() != "README" {
		t.Errorf("left: %v", files)
	}
}

func FuzzParse(f *testing.F) {
	e := entry()
	e.Schema = 1
	b, _ := json.Marshal(e)
	f.Add(b)
	f.Add([]byte(`{"schema":1,"protocol":"UDP","gateway":"::1","internal":"[::1]:1","expires":"2026-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Parse(b)
		if err != nil {
			return
		}
		out, err := json.Marshal(e)
		if err != nil {
			return // a time that JSON cannot say
		}
		if len(out) > MaxFile {
			return
		}
		again, err := Parse(out)
		if err != nil || again != e && !again.Expires.Equal(e.Expires) {
			t.Errorf("%v: %+v, then %+v", err, e, again)
		}
	})
}
