package meta

import (
	"go/ast"
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	rfcHeading = regexp.MustCompile(`^## RFC (\d+)`)
	testName   = regexp.MustCompile("`([a-z/0-9]+)\\.((?:Test|Fuzz)[A-Za-z0-9]+)`")
)

// TestRFCTable: docs/rfc-conformance.md gives each rule a test that exists, or
// says why it is not followed.
func TestRFCTable(t *testing.T) {
	const path = "docs/rfc-conformance.md"
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{}
	for _, f := range goFiles(t) {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && f.test() {
				tests[f.dir()+"."+fn.Name.Name] = true
			}
		}
	}
	rows := map[string]int{}
	rfc := ""
	for i, line := range strings.Split(string(doc), "\n") {
		if m := rfcHeading.FindStringSubmatch(line); m != nil {
			rfc = m[1]
		} else if strings.HasPrefix(line, "## ") {
			rfc = ""
		}
		cells := strings.Split(line, "|")
		if len(cells) < 3 || strings.Contains(line, "---") || strings.Contains(line, "| shown by |") {
			continue
		}
		last := cells[len(cells)-2]
		named := testName.FindAllStringSubmatch(last, -1)
		if n := strings.Count(last, "`"); n != 2*len(named) {
			t.Errorf("%s:%d: something in %q is no test", path, i+1, last)
		}
		for _, m := range named {
			if !tests[m[1]+"."+m[2]] {
				t.Errorf("%s:%d: there is no %s in %s", path, i+1, m[2], m[1])
			}
		}
		if rfc == "" {
			if len(named) == 0 {
				t.Errorf("%s:%d: no test", path, i+1)
			}
			continue
		}
		if len(cells) != 6 {
			t.Errorf("%s:%d: %d columns, want section, rule, followed, shown by", path, i+1, len(cells)-2)
			continue
		}
		rows[rfc]++
		followed := strings.TrimSpace(cells[3])
		kind, reason, _ := strings.Cut(followed, ": ")
		switch kind {
		case "yes":
			if reason != "" {
				t.Errorf("%s:%d: a reason where none is needed", path, i+1)
			}
		case "no", "otherwise":
			if len(reason) < 20 {
				t.Errorf("%s:%d: %q without a reason", path, i+1, kind)
			}
		default:
			t.Errorf("%s:%d: followed %q, want yes, otherwise or no", path, i+1, kind)
		}
		if len(named) == 0 && kind != "no" {
			t.Errorf("%s:%d: no test", path, i+1)
		}
	}
	for rfc, least := range map[string]int{"4380": 50, "5991": 7, "6081": 70} {
		if rows[rfc] < least {
			t.Errorf("%s: %d rows for RFC %s, want every MUST and SHOULD", path, rows[rfc], rfc)
		}
	}
}
