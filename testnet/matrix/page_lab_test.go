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
	"github.com/chromedp/chromedp"

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
		chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	alloc, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, cancel := chromedp.NewContext(alloc)
	ctx, expire := context.WithTimeout(ctx, time.Minute)
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
	for end := time.Now().Add(10 * time.Second); b.eval(js) != "true"; time.Sleep(20 * time.Millisecond) {
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

// TestPageInBrowser opens a cell by keyboard, reads its ladder, and goes back;
// and looks at the page in every style.
func TestPageInBrowser(t *testing.T) {
	var page bytes.Buffer
	if err := run(t, matrix.Config{Seed: 1}).WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "matrix.html")
	if err := os.WriteFile(file, page.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	b := openTab(t)
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

	for _, s := range []struct {
		name          string
		width, height int64
		scheme        string
		medium        string
		at            string
	}{
		{"matrix", 1200, 1200, "light", "screen", "#ladder-9-3"},
		{"matrix-dark", 1200, 1080, "dark", "screen", "#ladder-9-3"},
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
