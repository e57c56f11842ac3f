package matrix_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"shipworm/testnet/matrix"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (-update rewrites it); got:\n%s", name, got)
	}
}

func run(t testing.TB, c matrix.Config) *matrix.Table {
	t.Helper()
	if c.Method == nil {
		c.Method = matrix.UDP{}
	}
	table, err := matrix.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return table
}
