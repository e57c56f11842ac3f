package trace_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"shipworm/testnet/trace"
)

// Save fills a folder that it makes, replaces what it wrote before, and leaves
// nothing else.
func TestSave(t *testing.T) {
	r := record(t, 1, trace.Config{Decode: decode})
	dir := filepath.Join(t.TempDir(), "a", "b")
	for range 2 {
		if err := r.Save(dir); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	golden := map[string]string{
		trace.FileText: "punch.txt", trace.FileJSON: "punch.jsonl", trace.FileLadder: "punch.mmd", trace.FilePcapng: "punch.pcapng",
	}
	if len(entries) != len(golden)+1 {
		t.Errorf("%v", entries)
	}
	for _, e := range entries {
		if e.Name() == trace.FolderLines {
			if lines, err := os.ReadDir(filepath.Join(dir, e.Name())); err != nil || len(lines) != 5 {
				t.Errorf("lines: %v, %v", lines, err)
			}
			continue
		}
		got, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join("testdata", golden[e.Name()]))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs from %s, %v", e.Name(), golden[e.Name()], err)
		}
	}
}

// A folder that cannot be made is an error that names it, and a file that
// cannot be replaced leaves no rest.
func TestSaveFails(t *testing.T) {
	r := record(t, 1, trace.Config{})
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Save(filepath.Join(file, "dir")); err == nil {
		t.Error("saved below a file")
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, trace.FilePcapng, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := r.Save(dir); err == nil {
		t.Error("replaced a folder")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left %v", entries)
	}
}

// Each line is an object of a known kind, and the counts of the first hold.
func TestJSONLines(t *testing.T) {
	var b bytes.Buffer
	if err := record(t, 1, trace.Config{}).WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	var head struct{ Schema, Events, Packets int }
	var last int64
	lines := bufio.NewScanner(&b)
	for lines.Scan() {
		var l struct {
			Kind string
			NS   int64
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatalf("%v: %s", err, lines.Text())
		}
		if len(count) == 0 {
			if err := json.Unmarshal(lines.Bytes(), &head); err != nil || l.Kind != "trace" {
				t.Fatalf("%v: %s", err, lines.Text())
			}
		}
		if l.NS < last {
			t.Errorf("goes back in time: %s", lines.Text())
		}
		last = l.NS
		count[l.Kind]++
	}
	if head.Schema != trace.Schema || len(count) != 3 || count["event"] != head.Events || count["packet"] != head.Packets || head.Events == 0 {
		t.Errorf("%v, head %+v", count, head)
	}
}
