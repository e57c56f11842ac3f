//go:build lab && linux

package teredo

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A browser on a host with nothing but a Teredo interface shows a page of a
// native IPv6 host, through a relay.
func TestBrowser(t *testing.T) {
	needs(t, "chromium", "python3")
	c := newCoast(t, nil)
	c.ourServer("--listen", primary.String(), "--listen", secondary.String(), "--native")
	c.ourRelay(c.relay, "--prefix", nodePrefix)
	home := c.home("port-restricted")
	pages := t.TempDir()
	const text = "reached by native IPv6"
	if err := os.WriteFile(filepath.Join(pages, "index.html"), []byte("<p id=p>no script ran</p><script>p.textContent = '"+text+"'</script>"), 0o644); err != nil {
		t.Fatal(err)
	}
	web := c.start(c.node, "python3", "-u", "-m", "http.server", "--bind", "::", "--directory", pages, "8000")
	c.listening(c.node, 8000)
	addr := c.ourClient(home)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	browser := home.Command(ctx, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
		"--disable-background-networking", "--user-data-dir="+t.TempDir(), "--dump-dom", "http://["+nodeAddr+"]:8000/")
	browser.Env = append(os.Environ(), "HOME="+t.TempDir())
	page, err := browser.Output()
	if err != nil || !strings.Contains(string(page), ">"+text+"<") {
		t.Errorf("%v\n%s", err, page)
	}
	_ = web.stop(syscall.SIGKILL)
	if !strings.Contains(web.stderr.String(), addr) {
		t.Errorf("%s asked for no page:\n%s", addr, &web.stderr)
	}
}
