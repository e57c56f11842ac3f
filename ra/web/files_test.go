package web

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

// noVNC stays as its authors published it.
func TestNoVNCIsUnmodified(t *testing.T) {
	list, err := os.Open("novnc/SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	want := map[string]string{}
	for sc := bufio.NewScanner(list); sc.Scan(); {
		sum, name, ok := strings.Cut(sc.Text(), "  ")
		if !ok || len(sum) != 64 {
			t.Fatalf("bad line %q", sc.Text())
		}
		want[name] = sum
	}
	if len(want) < 60 {
		t.Errorf("only %d files are listed", len(want))
	}
	dir := os.DirFS("novnc")
	err = fs.WalkDir(dir, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || p == "README.md" || p == "SHA256SUMS" {
			return err
		}
		b, err := fs.ReadFile(dir, p)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		if hex.EncodeToString(sum[:]) != want[p] {
			t.Errorf("%s is changed or not listed", p)
		}
		delete(want, p)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for p := range want {
		t.Errorf("%s is missing", p)
	}
}

// Every module that a served script imports, and every file that the page
// names, is embedded: the page works without the Internet.
func TestNothingIsMissing(t *testing.T) {
	files, err := loadFiles()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"/novnc/LICENSE.txt", "/novnc/docs/LICENSE.MPL-2.0", "/novnc/vendor/pako/LICENSE"} {
		if _, ok := files[p]; !ok {
			t.Errorf("licence %s is not embedded", p)
		}
	}
	imports := regexp.MustCompile(`(?:from|import\()\s*["']([./][^"']*)["']`)
	refs := regexp.MustCompile(`(?:href|src)="(/[^"#]*)`)
	n := 0
	for p, f := range files {
		re := refs
		if strings.HasSuffix(p, ".js") {
			re = imports
		} else if !strings.HasSuffix(p, ".html") {
			continue
		}
		for _, m := range re.FindAllStringSubmatch(string(f.body), -1) {
			n++
			target := resolve(p, m[1])
			if _, ok := files[target]; !ok {
				t.Errorf("%s needs %s, which is not embedded", p, target)
			}
		}
	}
	if n < 50 {
		t.Errorf("only %d references were found: is the search broken?", n)
	}
}

// resolve is what a browser does with a relative module name.
func resolve(from, ref string) string {
	if strings.HasPrefix(ref, "/") {
		return ref
	}
	dir := strings.Split(from, "/")
	dir = dir[:len(dir)-1]
	for part := range strings.SplitSeq(ref, "/") {
		switch part {
		case ".":
		case "..":
			dir = dir[:len(dir)-1]
		default:
			dir = append(dir, part)
		}
	}
	return strings.Join(dir, "/")
}
