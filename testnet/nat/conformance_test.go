package nat_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"shipworm/testnet/nat"
)

// TestConformanceTable: docs/nat-conformance.md names tests that exist, all that
// are named after a requirement, and no requirement goes without one.
func TestConformanceTable(t *testing.T) {
	doc := readDoc(t)
	tests := map[string]bool{}
	for _, dir := range []string{".", "../sim"} {
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(b, -1) {
				tests[string(m[1])] = true
			}
		}
	}
	for _, m := range regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(doc, -1) {
		if !tests[m[1]] {
			t.Errorf("there is no %s", m[1])
		}
	}
	of := regexp.MustCompile(`^TestRFC(\d+)_`)
	number := map[bool]*regexp.Regexp{ // of a requirement; RFC 7857 has sections
		false: regexp.MustCompile(`_REQ(\d+)`), true: regexp.MustCompile(`(?:^TestRFC7857_|and)(\d+)`),
	}
	shown := map[string]bool{}
	for name := range tests {
		rfc := of.FindStringSubmatch(name)
		if rfc == nil {
			continue
		}
		if !strings.Contains(doc, "`"+name+"`") {
			t.Errorf("%s is not in the table", name)
		}
		for _, n := range number[rfc[1] == "7857"].FindAllStringSubmatch(name, -1) {
			shown[rfc[1]+" "+n[1]] = true
		}
	}
	// The last requirement of each, of RFC 7857 the last section. What the document
	// says does not bind a NAT engine: management, logging, queries of Basic NATs.
	free := map[string]bool{"6888 10": true, "6888 12": true, "7857 12": true}
	for rfc, last := range map[string]int{"4787": 14, "5382": 10, "5508": 11, "6888": 15, "7857": 12} {
		for n := range last {
			r := fmt.Sprintf("%s %d", rfc, n+1)
			if !shown[r] && !free[r] && r != "7857 1" { // its introduction
				t.Errorf("RFC %s: no test is named after requirement or section %d", rfc, n+1)
			}
		}
	}
}

// Every knob of a profile file is in the document.
func TestKnobsDocumented(t *testing.T) {
	var c nat.Config
	knobs := map[string]any{}
	for v, i := reflect.ValueOf(&c).Elem(), 0; i < v.NumField(); i++ {
		if v.Field(i).Type() == reflect.TypeFor[time.Duration]() {
			v.Field(i).SetInt(1)
		} else if name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); name != "-" {
			knobs[name] = nil
		}
	}
	c.PortLifetimes = []nat.PortLifetime{{Port: 1, Lifetime: 1}}
	b, err := json.Marshal(c)
	if err == nil {
		err = json.Unmarshal(b, &knobs)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(knobs) < 50 {
		t.Fatalf("%d knobs", len(knobs))
	}
	_, section, _ := strings.Cut(readDoc(t), "## Profile files")
	for name := range knobs {
		if !strings.Contains(section, "`"+name+"`") && name != "schema" {
			t.Errorf("%s is not in the document", name)
		}
	}
}

func readDoc(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/nat-conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
