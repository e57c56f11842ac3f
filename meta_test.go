// Package meta guards the shape of the tree: what a reviewer would otherwise
// have to notice. The rules are those of ARCHITECTURE.md.
package meta

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the table of docs/conformance.md")

const maxLines = 500

type file struct {
	path string // slash-separated, relative to the root
	src  []byte
	ast  *ast.File
	fset *token.FileSet
}

func (f *file) test() bool  { return strings.HasSuffix(f.path, "_test.go") }
func (f *file) dir() string { return filepath.ToSlash(filepath.Dir(f.path)) }

func (f *file) imports() []string {
	var out []string
	for _, s := range f.ast.Imports {
		p, _ := strconv.Unquote(s.Path.Value)
		out = append(out, p)
	}
	return out
}

func goFiles(t *testing.T) []*file {
	t.Helper()
	var files []*file
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin" || name == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, path, src, parser.ParseComments)
		if err != nil {
			return err
		}
		files = append(files, &file{filepath.ToSlash(path), src, parsed, fset})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("found only %d Go files: the walk is broken", len(files))
	}
	return files
}

func TestFormatted(t *testing.T) {
	for _, f := range goFiles(t) {
		want, err := format.Source(f.src)
		if err != nil {
			t.Errorf("%s: %v", f.path, err)
		} else if !bytes.Equal(want, f.src) {
			t.Errorf("%s: not gofmt'ed", f.path)
		}
	}
}

func TestFileLength(t *testing.T) {
	for _, f := range goFiles(t) {
		if n := bytes.Count(f.src, []byte("\n")); n > maxLines {
			t.Errorf("%s: %d lines, at most %d: split it by role or phase", f.path, n, maxLines)
		}
	}
}

func TestPackageComments(t *testing.T) {
	documented := map[string]int{}
	for _, f := range goFiles(t) {
		if f.test() && f.dir() != "." {
			continue
		}
		documented[f.dir()] += 0
		if f.ast.Doc != nil && len(f.ast.Doc.Text()) > 40 {
			documented[f.dir()]++
		}
	}
	for dir, n := range documented {
		if n != 1 {
			t.Errorf("%s: %d package comments, want one", dir, n)
		}
	}
}

func TestExportsDocumented(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test() {
			continue
		}
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) && !wellKnown[d.Name.Name] {
					t.Errorf("%s: %s has no comment", f.path, d.Name.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if ts, ok := s.(*ast.TypeSpec); ok && ts.Name.IsExported() && ts.Doc == nil && d.Doc == nil {
						t.Errorf("%s: type %s has no comment", f.path, ts.Name.Name)
					}
				}
			}
		}
	}
}

// wellKnown are methods whose meaning their interface fixes.
var wellKnown = map[string]bool{
	"Error": true, "Unwrap": true, "Is": true, "String": true, "Close": true,
	"Read": true, "Write": true, "Len": true, "Less": true, "Swap": true,
	"LocalAddr": true, "RemoteAddr": true, "ReadFrom": true, "WriteTo": true,
	"SetDeadline": true, "SetReadDeadline": true, "SetWriteDeadline": true,
	"Push": true, "Pop": true, "MarshalText": true, "UnmarshalText": true, "ServeHTTP": true,
}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if gen, ok := typ.(*ast.IndexExpr); ok {
		typ = gen.X
	}
	id, ok := typ.(*ast.Ident)
	return ok && id.IsExported()
}

// TestImportDirection: cmd -> {ra, teredo, natprobe, upnp, testnet} ->
// internal -> std. The five do not import each other; testnet serves tests
// and cmd only; its engines are pure.
func TestImportDirection(t *testing.T) {
	rooms := []string{"teredo", "natprobe", "upnp", "ra", "testnet"}
	room := func(pkg string) string {
		rest, ok := strings.CutPrefix(pkg, "shipworm/")
		if !ok {
			return ""
		}
		return strings.SplitN(rest, "/", 2)[0]
	}
	for _, f := range goFiles(t) {
		from := strings.SplitN(f.path, "/", 2)[0]
		for _, imp := range f.imports() {
			to := room(imp)
			bad := false
			switch {
			case to == "" || to == from || from == "cmd":
			case to == "internal":
			case to == "cmd":
				bad = true
			case f.test() && to == "testnet":
			case strings.HasPrefix(f.path, "testnet/demo/"), strings.HasPrefix(f.path, "testnet/speed/"): // programs, as cmd is
			case slices.Contains(rooms, to):
				bad = true
			}
			if bad {
				t.Errorf("%s imports %s", f.path, imp)
			}
			// Reading a profile from a path is the engine's only I/O, in a file of its own.
			pure := slices.Contains(purePackages, f.dir()) && f.path != "testnet/nat/load.go"
			if pure && !f.test() && (imp == "net" || imp == "os" || imp == "log/slog" || strings.HasPrefix(imp, "golang.org/x/net")) {
				t.Errorf("%s: pure package imports %s", f.path, imp)
			}
		}
	}
}

// purePackages own no socket, file or log.
var purePackages = []string{
	"natprobe/message", "natprobe/report",
	"ra/session",
	"teredo/engine", "teredo/firewall", "teredo/packet", "teredo/segment", "teredo/wire",
	"testnet/firewall", "testnet/link", "testnet/nat",
	"upnp/natpmp", "upnp/pcp", "upnp/ssdp",
}

// TestOneImporter: a third-party library enters through one package, so that
// it can be replaced in one place.
func TestOneImporter(t *testing.T) {
	importers := map[string][]string{}
	for _, f := range goFiles(t) {
		if f.test() {
			continue
		}
		for _, imp := range f.imports() {
			first, rest, _ := strings.Cut(imp, "/")
			if !strings.Contains(first, ".") || first == "golang.org" {
				continue
			}
			lib := first
			if parts := strings.Split(rest, "/"); first == "github.com" && len(parts) >= 2 {
				lib = first + "/" + parts[0] + "/" + parts[1]
			} else if len(parts) >= 1 {
				lib = first + "/" + parts[0]
			}
			if !slices.Contains(importers[lib], f.dir()) {
				importers[lib] = append(importers[lib], f.dir())
			}
		}
	}
	for lib, dirs := range importers {
		if len(dirs) > 1 {
			t.Errorf("%s is imported by %s", lib, strings.Join(dirs, ", "))
		}
	}
}

var idPattern = regexp.MustCompile(`\b(?:T|TR|U|N|R|RR|C|L|X)-\d\d\b`)

// testsByID maps a requirement id to the tests whose doc comment names it.
func testsByID(t *testing.T) map[string][]string {
	found := map[string][]string{}
	for _, f := range goFiles(t) {
		if !f.test() {
			continue
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Doc == nil || fn.Recv != nil || !regexp.MustCompile(`^(Test|Fuzz|Benchmark)`).MatchString(fn.Name.Name) {
				continue
			}
			for _, id := range idPattern.FindAllString(fn.Doc.Text(), -1) {
				name := f.dir() + "." + fn.Name.Name
				if !slices.Contains(found[id], name) {
					found[id] = append(found[id], name)
				}
			}
		}
	}
	for _, names := range found {
		slices.Sort(names)
	}
	return found
}

// TestConformanceTable: docs/conformance.md names for every requirement the
// tests that show it, and says openly which have none yet.
func TestConformanceTable(t *testing.T) {
	const path = "docs/conformance.md"
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := testsByID(t)
	lines := strings.Split(string(doc), "\n")
	rows := 0
	for i, line := range lines {
		cells := strings.Split(line, "|")
		if len(cells) != 5 {
			continue
		}
		id := strings.TrimSpace(cells[1])
		if !idPattern.MatchString(id) {
			continue
		}
		rows++
		tests := "not yet"
		if names := found[id]; len(names) > 0 {
			tests = "`" + strings.Join(names, "` `") + "`"
		}
		delete(found, id)
		want := fmt.Sprintf("| %s | %s | %s |", id, strings.TrimSpace(cells[2]), tests)
		if line != want && !*update {
			t.Errorf("%s:%d: have %q, want %q (go test -run Conformance -update .)", path, i+1, line, want)
		}
		lines[i] = want
	}
	for id := range found {
		t.Errorf("%s is named by a test, not by %s", id, path)
	}
	if rows < 148 {
		t.Errorf("%s has %d rows, want every requirement", path, rows)
	}
	if *update {
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
