package trace_test

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"shipworm/testnet/trace"
)

var update = flag.Bool("update", false, "rewrite the files in testdata")

// forms are all formats, with the file of testdata that each is compared to.
var forms = []struct {
	file  string
	write func(*trace.Trace, io.Writer) error
}{
	{"punch.txt", (*trace.Trace).WriteText},
	{"punch.jsonl", (*trace.Trace).WriteJSON},
	{"punch.mmd", (*trace.Trace).WriteMermaid},
	{"punch.pcapng", (*trace.Trace).WritePcapng},
}

// L-02: the same seed gives the same trace, byte for byte in every format.
func TestGolden(t *testing.T) {
	for _, f := range forms {
		t.Run(f.file, func(t *testing.T) {
			var got, again bytes.Buffer
			for _, b := range []*bytes.Buffer{&got, &again} {
				if err := f.write(record(t, 1, trace.Config{Decode: decode}).Trace(trace.Filter{}), b); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(got.Bytes(), again.Bytes()) {
				t.Error("two runs with one seed differ")
			}
			path := filepath.Join("testdata", f.file)
			if *update {
				if err := os.MkdirAll("testdata", 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if filepath.Ext(path) == ".pcapng" {
				if !bytes.Equal(got.Bytes(), want) {
					t.Errorf("differs from %s (go test -update): %d and %d bytes", path, got.Len(), len(want))
				}
			} else if d := cmp.Diff(string(want), got.String()); d != "" {
				t.Errorf("differs from %s (go test -update):\n%s", path, d)
			}
		})
	}
}
