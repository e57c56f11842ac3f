//go:build lab

package matrix_test

import (
	"bytes"
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"shipworm/testnet/matrix"
)

var shots = flag.String("shots", "", "write pictures of the page to this `folder`")

type tab struct {
	t   *testing.T
	ctx context.Context
}

func openTab(t *testing.T) *tab {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("needs Debian's chromium: ", err)
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.WSURLReadTimeout(time.Minute), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	alloc, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, cancel := chromedp.NewContext(alloc)
	ctx, expire := context.WithTimeout(ctx, 5*time.Minute)
	t.Cleanup(func() {
		expire()
		chromedp.Cancel(ctx)
		cancel()
		stop()
	})
	return &tab{t, ctx}
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *tab) eval(js string) string {
	b.t.Helper()
	s, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("String("+js+")"))
	if err != nil {
		b.t.Fatal(js, ": ", err)
	}
	return s
}

// until waits for a condition in the page.
func (b *tab) until(js string) {
	b.t.Helper()
	for end := time.Now().Add(time.Minute); b.eval(js) != "true"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatal("still not: ", js)
		}
	}
}

func (b *tab) look(width, height int64, scheme, medium string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, height))
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: medium, Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
	if err != nil {
		b.t.Fatal(err)
	}
}

// catchErrors collects what goes wrong in the page.
const catchErrors = `window.failures = [];
for (const kind of ["error", "unhandledrejection", "securitypolicyviolation"])
  addEventListener(kind, e => failures.push(kind + ": " + (e.message || e.reason || e.violatedDirective)), true);`

// faint lists the texts that are seen and hard to read: for each its contrast
// with what is behind it.
const faint = `(() => {
  const rgb = s => s.match(/[\d.]+/g).map(Number);
  const light = s => {
    const [r, g, b] = rgb(s).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] === 1) return getComputedStyle(e).backgroundColor;
    }
    return "rgb(255, 255, 255)";
  };
  let seen = 0, bad = [];
  for (const e of document.querySelectorAll("body *")) {
    if (!e.checkVisibility() || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const style = getComputedStyle(e), text = e.namespaceURI.endsWith("svg") ? style.fill : style.color;
    const l = [light(text), light(behind(e))].sort((a, b) => b - a), ratio = (l[0] + 0.05) / (l[1] + 0.05);
    seen++;
    if (ratio < 4.5 || Number(style.opacity) < 1) bad.push(ratio.toFixed(2) + " " + e.textContent.trim().slice(0, 20));
  }
  return seen > 100 ? bad.join("; ") : "only " + seen + " texts";
})()`

// TestPageInBrowser opens a cell by keyboard, reads its ladder, and goes back;
// and looks at the page in every style.
func TestPageInBrowser(t *testing.T) {
	var html bytes.Buffer
	table := run(t, matrix.Config{Seed: 1})
	if *shots == "" { // in a picture it would be a lie
		table.Cells[5].Time, table.Cells[5].Packets = 9990*time.Millisecond, 54321 // for which there must be room
	}
	if err := table.WriteHTML(&html); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "matrix.html")
	if err := os.WriteFile(file, html.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	b := openTab(t)
	if _, err := chromedp.Call(b.ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: catchErrors}); err != nil {
		t.Fatal(err)
	}
	b.look(1280, 900, "light", "screen")
	b.do(chromedp.Navigate("file://" + file))

	const visible = `[...document.querySelectorAll(".ladder")].filter(e => e.checkVisibility()).map(e => e.id).join()`
	if got := b.eval(visible); got != "" {
		t.Errorf("ladders open before anything was chosen: %s", got)
	}
	// Tab leads to the table, then from cell to cell.
	for range 4 {
		b.do(chromedp.KeyEvent("\t"))
	}
	if got := b.eval(`document.activeElement.getAttribute("href")`); got != "#ladder-1-3" {
		t.Fatalf("the fourth Tab leads to %s", got)
	}
	b.do(chromedp.KeyEvent("\r"))
	b.until(visible + ` === "ladder-1-3"`)
	b.until(`(r => r.top < innerHeight && r.bottom > 0)(document.querySelector("#ladder-1-3 h2").getBoundingClientRect())`)
	if got := b.eval(`document.activeElement.id`); got != "ladder-1-3" {
		t.Errorf("the focus is on %q, not the ladder", got)
	}
	if got := b.eval(`document.querySelectorAll("#ladder-1-3 > ol > li svg").length > 3 && document.querySelector("#ladder-1-3 li svg").getBoundingClientRect().width > 100`); got != "true" {
		t.Error("the ladder shows no packets")
	}
	// The first link of the ladder leads back to the cell, whose link is next.
	b.do(chromedp.KeyEvent("\t"), chromedp.KeyEvent("\r"))
	b.until(visible + ` === ""`)
	b.do(chromedp.KeyEvent("\t"))
	if got := b.eval(`document.activeElement.getAttribute("href")`); got != "#ladder-1-3" {
		t.Errorf("back from the ladder, Tab leads to %s", got)
	}

	// Arrows lead from cell to cell and stop at the edges; Escape leads from a
	// ladder to its cell.
	const focus = `document.activeElement.getAttribute("href")`
	for _, k := range []struct{ key, want string }{
		{kb.ArrowRight, "#ladder-1-4"}, {kb.ArrowDown, "#ladder-2-4"}, {kb.ArrowLeft, "#ladder-2-3"}, {kb.ArrowUp, "#ladder-1-3"},
		{kb.ArrowUp, "#ladder-1-3"}, {kb.ArrowLeft, "#ladder-1-2"}, {kb.ArrowLeft, "#ladder-1-1"}, {kb.ArrowLeft, "#ladder-1-1"},
	} {
		b.do(chromedp.KeyEvent(k.key))
		if got := b.eval(focus); got != k.want {
			t.Errorf("after %q the focus is on %s, want %s", k.key, got, k.want)
		}
	}
	if got := b.eval(`getComputedStyle(document.activeElement).outlineStyle`); got != "solid" {
		t.Errorf("the outline of the focus is %s", got)
	}
	b.do(chromedp.KeyEvent("\r"))
	b.until(visible + ` === "ladder-1-1"`)
	b.do(chromedp.KeyEvent(kb.Escape))
	b.until(visible + ` === ""`)
	if got := b.eval(focus); got != "#ladder-1-1" {
		t.Errorf("after Escape the focus is on %s", got)
	}

	for _, s := range []struct {
		name          string
		width, height int64
		scheme        string
		medium        string
		at            string
	}{
		{"matrix", 1200, 1320, "light", "screen", "#ladder-9-3"},
		{"matrix-dark", 1200, 1200, "dark", "screen", "#ladder-9-3"},
		{"matrix-phone", 390, 844, "light", "screen", ""},
		{"matrix-phone-dark", 390, 844, "dark", "screen", "#ladder-9-3"},
		{"matrix-small", 320, 640, "light", "screen", "#ladder-9-3"},
		{"matrix-print", 1050, 1200, "light", "print", "#ladder-9-3"},
	} {
		b.look(s.width, s.height, s.scheme, s.medium)
		b.do(chromedp.Navigate("about:blank"), chromedp.Navigate("file://"+file+s.at))
		if got := b.eval(`document.documentElement.scrollWidth <= innerWidth`); got != "true" {
			t.Errorf("%s: wider than the window", s.name)
		}
		if got := b.eval(`Math.min(...[...document.querySelectorAll("td a")].flatMap(e => [e.offsetWidth, e.offsetHeight])) >= 24`); got != "true" {
			t.Errorf("%s: cells too small for a finger (WCAG 2.2, 2.5.8)", s.name)
		}
		if got := b.eval(`[...document.querySelectorAll("td > *")].filter(e => e.scrollWidth > e.clientWidth).map(e => e.innerText).join()`); got != "" {
			t.Errorf("%s: no room for %s", s.name, got)
		}
		if got := b.eval(faint); got != "" {
			t.Errorf("%s: contrast below 4.5 to 1 (WCAG 2.2, 1.4.3): %s", s.name, got)
		}
		if got := b.eval(`failures.join()`); got != "" {
			t.Errorf("%s: %s", s.name, got)
		}
		if *shots == "" {
			continue
		}
		if s.at != "" && s.width > 400 {
			b.eval(`scrollTo(0, 0)`)
		}
		png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
		if err == nil {
			err = os.WriteFile(filepath.Join(*shots, s.name+".png"), png, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
