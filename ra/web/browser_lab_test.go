//go:build lab

package web

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"shipworm/ra/face"
)

// browser is one tab of a headless Chromium of its own.
type browser struct {
	t      *testing.T
	ctx    context.Context
	mu     sync.Mutex
	errors []string // what the console complained about
}

func openBrowser(t *testing.T) *browser {
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
	b := &browser{t: t, ctx: ctx}
	messages := chromedp.Console(ctx)
	read := make(chan struct{})
	t.Cleanup(func() {
		expire()
		chromedp.Cancel(ctx)
		cancel()
		stop()
		<-read
	})
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1280, 800)); err != nil {
		close(read)
		t.Fatal("starting the browser: ", err)
	}
	go func() {
		defer close(read)
		for m, err := range messages {
			if err != nil {
				return
			}
			if m.IsException() || m.Type == "error" {
				b.mu.Lock()
				b.errors = append(b.errors, m.String())
				b.mu.Unlock()
			}
		}
	}()
	return b
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// open visits a page of srv with a fresh code and waits until it is drawn.
func (b *browser) open(srv *Server) {
	b.t.Helper()
	b.do(chromedp.Navigate(srv.URL()))
	b.until(`document.body.dataset.state !== ""`)
}

// until waits for a JavaScript condition.
func (b *browser) until(js string) {
	b.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](js))
		if err == nil && ok {
			return
		}
		if time.Now().After(end) {
			body, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.body.innerText`))
			b.t.Fatalf("still not: %s (%v)\npage:\n%s\nconsole: %q", js, err, body, b.errors)
		}
	}
}

func (b *browser) eval(js string) string {
	b.t.Helper()
	s, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("String("+js+")"))
	if err != nil {
		b.t.Fatal(js, ": ", err)
	}
	return s
}

// click presses the mouse in the middle of a visible element.
func (b *browser) click(id string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.ID(id)))
}

// clean fails the test if the console complained, for example about the CSP.
func (b *browser) clean() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.errors {
		b.t.Error("console: ", e)
	}
}

func (b *browser) media(features ...*emulation.MediaFeature) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features})
	if err != nil {
		b.t.Fatal(err)
	}
}

// wait waits for a condition on the Go side.
func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("still not: ", what)
		}
	}
}

func question(kind string, enabled time.Duration) *face.Question {
	now := time.Now()
	q := &face.Question{ID: 7, Kind: kind, Enabled: now.Add(enabled), Deadline: now.Add(time.Minute)}
	q.Text = "Ada Byron would like to see your screen."
	if kind == face.AskControl {
		q.Text = "Ada Byron would like to use your mouse and keyboard."
	}
	q.Warning = "Say Yes only to somebody you know and asked for help. Banks, shops and “support” services never call to see your screen."
	return q
}

// the code in the fragment opens the page once; reload keeps it open;
// the same link in another browser opens nothing.
func TestBrowserLogin(t *testing.T) {
	srv := serve(t, newFake(face.User, face.Waiting))
	b := openBrowser(t)
	url := srv.URL() // it lives for 30 s, and a browser may take as long to start
	b.do(chromedp.Navigate(url))
	b.until(`document.body.dataset.state === "waiting"`)
	if got := b.eval(`location.href`); strings.Contains(got, "#") {
		t.Errorf("the code is still in the address: %s", got)
	}
	if got := b.eval(`document.cookie`); got != "" {
		t.Errorf("a script can read the cookie %q", got)
	}
	b.eval(`location.reload()`)
	b.until(`document.body.dataset.state === "waiting"`)
	b.clean()

	again := openBrowser(t)
	again.do(chromedp.Navigate(url))
	again.until(`document.getElementById("start-title").innerText === "This link is used up"`)
	// As a face opens it, without the URL on a command line.
	file := filepath.Join(t.TempDir(), "open.html")
	html := `<meta http-equiv="refresh" content="0;url=` + srv.URL() + `">`
	if err := os.WriteFile(file, []byte(html), 0o600); err != nil {
		t.Fatal(err)
	}
	again.do(chromedp.Navigate("file://" + file))
	again.until(`document.body.dataset.state === "waiting"`)
}

// The page says that shipworm is gone, and finds it again; after an end it
// stays with the end.
func TestBrowserServerGone(t *testing.T) {
	f := newFake(face.User, face.Screen)
	srv, err := New(Config{Session: f})
	if err != nil {
		t.Fatal(err)
	}
	srv.farewell = patience
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx) }()
	b := openBrowser(t)
	b.open(srv)
	f.set(func(v *face.View) {
		v.State, v.End = face.Ended, &face.End{Reason: "You stopped sharing.", Clean: true}
	})
	cancel()
	<-ended
	b.until(`document.getElementById("end-text").innerText === "You stopped sharing."`)
	if b.eval(`document.getElementById("notice").hidden`) != "true" {
		t.Error("a session that ended is reported as lost")
	}
}

// consent by a click, not before its time, never by a script.
func TestBrowserConsent(t *testing.T) {
	f := newFake(face.User, face.Waiting)
	b := openBrowser(t)
	b.open(serve(t, f))
	f.set(func(v *face.View) {
		v.Peer = &face.Peer{Name: "Ada Byron", Address: "[2001:db8::7]:50123"}
		v.Question = question(face.AskView, time.Hour)
	})
	b.until(`document.getElementById("v-question").checkVisibility()`)
	b.until(`document.activeElement.id === "do-no"`)
	if b.eval(`document.getElementById("do-yes").disabled`) != "true" {
		t.Error("Yes can be pressed at once")
	}
	b.eval(`(document.getElementById("do-yes").disabled = false, document.getElementById("do-yes").click(), 0)`)
	f.set(func(v *face.View) { v.Question = question(face.AskView, 2*time.Second) })
	b.until(`!document.getElementById("do-yes").disabled && document.getElementById("do-yes").innerText === "Yes, show my screen"`)
	b.eval(`document.getElementById("do-yes").click()`)
	time.Sleep(200 * time.Millisecond)
	if got := f.taken(); len(got) != 0 {
		t.Fatalf("a script's click did %q", got)
	}
	b.click("do-yes")
	wait(t, "the answer", func() bool { return len(f.taken()) > 0 })
	if got := f.taken(); got[0] != "answer 7 true" {
		t.Errorf("the click did %q", got)
	}
	b.clean()
}

// during control the page has no Yes to press, whatever the view says.
func TestBrowserNoConsentDuringControl(t *testing.T) {
	f := newFake(face.User, face.Control)
	f.view.Peer = &face.Peer{Name: "Ada Byron"}
	f.view.Question = question(face.AskControl, -time.Hour)
	b := openBrowser(t)
	b.open(serve(t, f))
	b.until(`document.getElementById("v-question").checkVisibility()`)
	time.Sleep(500 * time.Millisecond)
	if b.eval(`document.getElementById("do-yes").disabled`) != "true" {
		t.Error("Yes can be pressed while control is shared")
	}
}

// what a peer says is text, and nothing else.
func TestBrowserHostileText(t *testing.T) {
	f := newFake(face.User, face.Screen)
	evil := `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`
	f.view.Peer = &face.Peer{Name: evil + "\u202egnp.exe\u200b", Address: evil}
	f.view.Log = []face.Entry{
		{Time: time.Now(), Event: "CHAT_MESSAGE", From: face.Helper, Text: evil + strings.Repeat("W", 3000)},
		{Time: time.Now(), Event: `"><b>`, Text: "\u202e\u0007\u001b[31m" + evil},
	}
	b := openBrowser(t)
	b.open(serve(t, f))
	b.until(`document.querySelectorAll("#log li").length === 2`)
	if n := b.eval(`document.querySelectorAll("main img, main script, main b, #log a").length`); n != "0" {
		t.Errorf("%s elements were made from text", n)
	}
	if got := b.eval(`document.querySelector("#log .said .text").textContent`); got != evil+strings.Repeat("W", 3000) {
		t.Errorf("chat shows %.120q", got)
	}
	if all := b.eval(`document.body.textContent`); strings.ContainsAny(all, "\u202e\u200b\u0007\u001b") {
		t.Error("control characters reached the page")
	}
	if w := b.eval(`document.documentElement.scrollWidth <= innerWidth`); w != "true" {
		t.Error("a long word widens the page")
	}
	b.click("chat-text")
	b.do(chromedp.KeyEvent("hello <b>there</b>\r"))
	wait(t, "the chat line", func() bool { return len(f.taken()) > 0 })
	if got := f.taken()[0]; got != "chat hello <b>there</b>" {
		t.Errorf("sent %q", got)
	}
	if strings.Contains(b.eval(`document.title`), "owned") {
		t.Error("a script of the peer ran")
	}
	b.clean()
}
