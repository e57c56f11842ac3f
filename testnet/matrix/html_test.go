package matrix_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"shipworm/testnet/matrix"
)

// pageOf renders a small table of every outcome.
func pageOf(t *testing.T) ([]byte, *html.Node) {
	t.Helper()
	table := run(t, matrix.Config{NATs: []string{"cone", "symmetric", "udp-blocked"}, Seed: 1, Loss: 0.7, Runs: 8})
	kinds := map[matrix.Outcome]bool{}
	for _, c := range table.Cells {
		kinds[c.Outcome] = true
	}
	if !kinds[matrix.Sometimes] || !kinds[matrix.Failed] || !kinds[matrix.Unready] {
		t.Fatalf("the table has only %v", kinds)
	}
	var b bytes.Buffer
	if err := table.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	doc, err := html.Parse(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), doc
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// policy is what the page says it may load and run.
func policy(doc *html.Node) string {
	for n := range doc.Descendants() {
		if n.DataAtom == atom.Meta && attr(n, "http-equiv") == "Content-Security-Policy" {
			return attr(n, "content")
		}
	}
	return ""
}

func text(n *html.Node) string {
	if n.Type == html.TextNode {
		return n.Data
	}
	var s strings.Builder
	for c := range n.ChildNodes() {
		s.WriteString(text(c))
	}
	return strings.Join(strings.Fields(s.String()), " ")
}

// TestPageStructure keeps the outline of the page: its elements with their
// roles, without styles and pictures.
func TestPageStructure(t *testing.T) {
	var b bytes.Buffer
	if err := run(t, matrix.Config{NATs: []string{"port-restricted", "symmetric"}, Seed: 1}).WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	doc, err := html.Parse(&b)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	var walk func(n *html.Node, depth int)
	walk = func(n *html.Node, depth int) {
		if n.Type == html.ElementNode {
			if n.DataAtom == atom.Style || n.DataAtom == atom.Script || n.Data == "svg" || n.DataAtom == atom.Meta {
				return
			}
			fmt.Fprintf(&out, "%s%s", strings.Repeat(" ", depth), n.Data)
			for _, k := range []string{"lang", "id", "class", "scope", "role", "href", "tabindex", "aria-label", "aria-labelledby"} {
				if v := attr(n, k); v != "" {
					fmt.Fprintf(&out, " %s=%q", k, v)
				}
			}
			switch n.DataAtom {
			case atom.Title, atom.H1, atom.H2, atom.P, atom.Th, atom.A, atom.Li, atom.Summary, atom.Caption:
				fmt.Fprintf(&out, ": %s\n", text(n))
				return
			}
			out.WriteString("\n")
			depth++
		}
		for c := range n.ChildNodes() {
			walk(c, depth)
		}
	}
	walk(doc, 0)
	golden(t, "page.golden", []byte(out.String()))
}

// TestPageAccessible: a page that a screen reader and a keyboard can use, and
// that fetches nothing.
func TestPageAccessible(t *testing.T) {
	raw, doc := pageOf(t)
	ids := map[string]int{}
	count := map[string]int{}
	var links []string
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		count[n.Data]++
		if id := attr(n, "id"); id != "" {
			ids[id]++
		}
		for _, k := range []string{"src", "srcset", "action", "data", "poster", "xlink:href", "onclick"} {
			if attr(n, k) != "" {
				t.Errorf("<%s %s=%q>", n.Data, k, attr(n, k))
			}
		}
		if h := attr(n, "href"); h != "" {
			if !strings.HasPrefix(h, "#") {
				t.Errorf("<%s> leads away: %s", n.Data, h)
			}
			links = append(links, h[1:])
		}
		switch n.DataAtom {
		case atom.Html:
			if attr(n, "lang") != "en" {
				t.Error("no language")
			}
		case atom.Title:
			if text(n) == "" {
				t.Error("no title")
			}
		case atom.Th:
			if s := attr(n, "scope"); s != "row" && s != "col" {
				t.Errorf("header %q has scope %q", text(n), s)
			}
		case atom.A:
			if attr(n, "aria-label") == "" && text(n) == "" {
				t.Error("a link without a name")
			}
			if n.Parent.DataAtom == atom.Td && !strings.Contains(attr(n, "aria-label"), " calls ") {
				t.Errorf("cell %q is not described: %q", text(n), attr(n, "aria-label"))
			}
		case atom.Svg:
			if attr(n, "aria-hidden") != "true" {
				t.Error("a picture that is read out")
			}
		case atom.Script:
			sum := sha256.Sum256([]byte(n.FirstChild.Data))
			if want := "script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(policy(doc), want) {
				t.Errorf("the policy %q lets no script run: want %s", policy(doc), want)
			}
		case atom.Link, atom.Img, atom.Iframe, atom.Object, atom.Base, atom.Form:
			t.Errorf("<%s> in the page", n.Data)
		}
	}
	for id, n := range ids {
		if n > 1 {
			t.Errorf("id %s occurs %d times", id, n)
		}
	}
	for _, l := range links {
		if ids[l] == 0 {
			t.Errorf("link to #%s, which is not there", l)
		}
	}
	if count["h1"] != 1 || count["main"] != 1 || count["caption"] != 1 || count["th"] != 6 || count["section"] != 9 || count["title"] != 1 || count["script"] != 1 {
		t.Errorf("elements: %v", count)
	}
	for _, bad := range []string{"http://", "https://", "//cdn", "@import", "url("} {
		if bytes.Contains(raw, []byte(bad)) {
			t.Errorf("the page contains %q", bad)
		}
	}
}

// TestPageEscapes: a name is text, whatever it contains.
func TestPageEscapes(t *testing.T) {
	const name = `<script>alert(1)</script>"&`
	table := &matrix.Table{Method: "udp", Title: name, NATs: []string{name}, Cells: []matrix.Cell{{From: name, To: name, Outcome: matrix.Failed, Reason: name}}}
	var b bytes.Buffer
	if err := table.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "<script>alert") || !strings.Contains(b.String(), "&lt;script&gt;") {
		t.Error("a name became an element")
	}
}

// TestPageContrast: every pair of text and background reaches WCAG's 4.5 to 1,
// in both colour schemes.
func TestPageContrast(t *testing.T) {
	raw, _ := pageOf(t)
	variable := regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{3,6});`)
	css := string(raw[:bytes.Index(raw, []byte("</style>"))])
	light, dark, _ := strings.Cut(css, "prefers-color-scheme: dark")
	dark, _, _ = strings.Cut(dark, "* { box-sizing")
	for scheme, part := range map[string]string{"light": light, "dark": dark} {
		colour := map[string]string{}
		for _, m := range variable.FindAllStringSubmatch(part, -1) {
			colour[m[1]] = m[2]
		}
		pairs := [][2]string{{"ink", "paper"}, {"soft", "paper"}, {"ink", "panel"}, {"soft", "panel"},
			{"connected-ink", "panel"}, {"failed-ink", "panel"}, {"sometimes-ink", "panel"}}
		for _, o := range []string{"connected", "sometimes", "failed", "unready"} {
			pairs = append(pairs, [2]string{o + "-ink", o})
		}
		for _, p := range pairs {
			if c := contrast(t, colour[p[0]], colour[p[1]]); c < 4.5 {
				t.Errorf("%s: %s on %s: %.2f", scheme, p[0], p[1], c)
			}
		}
	}
}

// contrast is WCAG 2.2's ratio of two colours.
func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	luminance := func(s string) float64 {
		s = strings.TrimPrefix(s, "#")
		if len(s) == 3 {
			s = string([]byte{s[0], s[0], s[1], s[1], s[2], s[2]})
		}
		v, err := strconv.ParseUint(s, 16, 32)
		if err != nil || len(s) != 6 {
			t.Fatalf("no colour: %q", s)
		}
		part := func(shift int) float64 {
			c := float64(v>>shift&255) / 255
			if c <= 0.04045 {
				return c / 12.92
			}
			return math.Pow((c+0.055)/1.055, 2.4)
		}
		return 0.2126*part(16) + 0.7152*part(8) + 0.0722*part(0)
	}
	l := []float64{luminance(a), luminance(b)}
	slices.Sort(l)
	return (l[1] + 0.05) / (l[0] + 0.05)
}
