package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"shipworm/ra/face"
)

// client talks to one server as a browser would, one header at a time.
type client struct {
	t           testing.TB
	base        string
	cookie, key string
}

// signIn redeems a fresh code of srv.
func signIn(t testing.TB, srv *Server) *client {
	t.Helper()
	c := &client{t: t, base: "http://" + srv.Addr().String()}
	code := c.code(srv)
	res, body := c.do("POST", "/login", `{"code":"`+code+`"}`, "Origin", c.base)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("login: %s", res.Status)
	}
	_, rest, _ := strings.Cut(body, `"key":"`)
	c.key, _, _ = strings.Cut(rest, `"`)
	c.cookie = res.Cookies()[0].Name + "=" + res.Cookies()[0].Value
	return c
}

func (c *client) code(srv *Server) string {
	u, err := url.Parse(srv.URL())
	if err != nil {
		c.t.Fatal(err)
	}
	return u.Fragment
}

// do sends one request; a header "Host" sets the host line, an empty value
// leaves the header out.
func (c *client) do(method, path, body string, header ...string) (*http.Response, string) {
	c.t.Helper()
	req, err := http.NewRequest(method, c.base+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		switch {
		case header[i] == "Host":
			req.Host = header[i+1]
		case header[i+1] != "":
			req.Header.Add(header[i], header[i+1])
		}
	}
	tr := &http.Transport{DisableKeepAlives: true}
	res, err := tr.RoundTrip(req)
	if err != nil {
		c.t.Fatal(err)
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		res.Body.Close()
		return res, ""
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return res, string(b)
}

func (c *client) dial(path string) *websocket.Conn {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, c.base+path, &websocket.DialOptions{
		HTTPHeader:   http.Header{"Origin": {c.base}, "Cookie": {c.cookie}},
		Subprotocols: []string{protocol, keyProtocol + c.key},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.CloseNow() })
	return conn
}

// the request matrix. Each refused row differs from an accepted one in
// exactly one respect.
func TestRequestMatrix(t *testing.T) {
	srv := serve(t, newFake(face.Helper, face.Screen))
	c := signIn(t, srv)
	other := signIn(t, srv)
	_, port, _ := strings.Cut(srv.Addr().String(), ":")
	upgrade := func(change ...string) []string {
		h := map[string]string{
			"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
			"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol": protocol + ", " + keyProtocol + c.key,
			"Origin": c.base, "Cookie": c.cookie,
		}
		for i := 0; i < len(change); i += 2 {
			h[change[i]] = change[i+1]
		}
		var out []string
		for k, v := range h {
			out = append(out, k, v)
		}
		return out
	}
	key := `{"key":"` + c.key + `"}`
	tests := []struct {
		name         string
		method, path string
		body         string
		header       []string
		want         int
	}{
		{"page", "GET", "/", "", nil, 200},
		{"page, rebound name", "GET", "/", "", []string{"Host", "evil.example:" + port}, 421},
		{"page, our address without the port", "GET", "/", "", []string{"Host", "127.0.0.1"}, 421},
		{"script asked for by another site", "GET", "/ui/app.js", "", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "script"}, 403},
		{"resume", "POST", "/resume", key, []string{"Origin", c.base, "Cookie", c.cookie}, 204},
		{"resume, missing Origin", "POST", "/resume", key, []string{"Cookie", c.cookie}, 403},
		{"resume, another port's Origin", "POST", "/resume", key, []string{"Origin", "http://127.0.0.1:1", "Cookie", c.cookie}, 403},
		{"resume, rebound name with its own Origin", "POST", "/resume", key, []string{"Host", "evil.example:" + port, "Origin", "http://evil.example:" + port, "Cookie", c.cookie}, 421},
		{"WebSocket", "GET", "/events", "", upgrade(), 101},
		{"WebSocket, cross-site", "GET", "/events", "", upgrade("Origin", "https://evil.example"), 403},
		{"WebSocket, missing Origin", "GET", "/events", "", upgrade("Origin", ""), 403},
		{"WebSocket, without the cookie", "GET", "/events", "", upgrade("Cookie", ""), 401},

		{"page followed from a link elsewhere", "GET", "/", "", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 200},
		{"page in a foreign frame", "GET", "/", "", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, 403},
		{"page with a token in a query", "GET", "/?token=x", "", nil, 400},
		{"page as localhost", "GET", "/", "", []string{"Host", "localhost:" + port}, 200},
		{"resume, two Origins", "POST", "/resume", key, []string{"Origin", c.base, "Origin", "https://evil.example", "Cookie", c.cookie}, 403},
		{"resume, null Origin", "POST", "/resume", key, []string{"Origin", "null", "Cookie", c.cookie}, 403},
		{"resume, https Origin", "POST", "/resume", key, []string{"Origin", "https" + strings.TrimPrefix(c.base, "http"), "Cookie", c.cookie}, 403},
		{"resume, without the cookie", "POST", "/resume", key, []string{"Origin", c.base}, 403},
		{"resume, the key of another seat", "POST", "/resume", `{"key":"` + other.key + `"}`, []string{"Origin", c.base, "Cookie", c.cookie}, 403},
		{"preflight gets no CORS", "OPTIONS", "/resume", "", []string{"Origin", "https://evil.example", "Access-Control-Request-Method", "POST"}, 403},
		{"WebSocket, without the key", "GET", "/events", "", upgrade("Sec-WebSocket-Protocol", protocol), 401},
		{"WebSocket, rebound name", "GET", "/events", "", upgrade("Host", "evil.example:"+port, "Origin", "http://evil.example:"+port), 421},
		{"WebSocket from another port", "GET", "/events", "", upgrade("Sec-Fetch-Site", "same-site"), 403},
		{"viewer, cross-site", "GET", "/rfb", "", upgrade("Origin", "https://evil.example"), 403},
		{"viewer, without the cookie", "GET", "/rfb", "", upgrade("Cookie", ""), 401},
		{"upgrade disguised by case", "GET", "/events", "", []string{"connection", "UPGRADE", "Cookie", c.cookie}, 403},
		{"no directory", "GET", "/novnc/", "", nil, 404},
		{"no way out of the files", "GET", "/ui/../server.go", "", nil, 307},
		{"unknown method", "DELETE", "/", "", []string{"Origin", c.base}, 405},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, _ := c.do(tt.method, tt.path, tt.body, tt.header...)
			if res.StatusCode != tt.want {
				t.Errorf("status %d, want %d", res.StatusCode, tt.want)
			}
			for h := range res.Header {
				if strings.HasPrefix(h, "Access-Control-") {
					t.Errorf("answer carries %s", h)
				}
			}
		})
	}
	if srv.Refused() == 0 {
		t.Error("no refusal was counted")
	}
}

// headers of every kind of answer, refusals included.
func TestHeaders(t *testing.T) {
	srv := serve(t, newFake(face.User, face.Waiting))
	c := &client{t: t, base: "http://" + srv.Addr().String()}
	want := map[string]string{
		"Cache-Control":                "no-store",
		"Referrer-Policy":              "no-referrer",
		"X-Content-Type-Options":       "nosniff",
		"X-Frame-Options":              "DENY",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Cross-Origin-Opener-Policy":   "same-origin",
	}
	for _, tt := range []struct{ path, host, mime string }{
		{"/", "", "text/html; charset=utf-8"},
		{"/ui/app.js", "", "text/javascript; charset=utf-8"},
		{"/ui/style.css", "", "text/css; charset=utf-8"},
		{"/novnc/core/rfb.js", "", "text/javascript; charset=utf-8"},
		{"/novnc/LICENSE.txt", "", "text/plain; charset=utf-8"},
		{"/nothing", "", "text/plain; charset=utf-8"},
		{"/", "evil.example", "text/plain; charset=utf-8"},
	} {
		host := tt.host
		if host == "" {
			host = srv.Addr().String()
		}
		res, _ := c.do("GET", tt.path, "", "Host", host)
		got := map[string]string{}
		for h := range want {
			got[h] = res.Header.Get(h)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: headers (-want +got):\n%s", tt.path, d)
		}
		if m := res.Header.Get("Content-Type"); m != tt.mime {
			t.Errorf("%s: Content-Type %q, want %q", tt.path, m, tt.mime)
		}
		csp := res.Header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "script-src 'self'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(csp, part) {
				t.Errorf("%s: CSP %q lacks %q", tt.path, csp, part)
			}
		}
		for _, bad := range []string{"unsafe", "*", "evil.example"} {
			if strings.Contains(csp, bad) {
				t.Errorf("%s: CSP %q has %q", tt.path, csp, bad)
			}
		}
	}
}

// nothing inline in the page, which the CSP would block, and nothing
// from elsewhere, for it has to work without the Internet.
func TestPageIsSelfContained(t *testing.T) {
	files, err := loadFiles()
	if err != nil {
		t.Fatal(err)
	}
	page := files["/"].body
	for _, bad := range []string{"<style", "style=", "onclick", "javascript:", "https://", "http://", "//cdn"} {
		if bytes.Contains(page, []byte(bad)) {
			t.Errorf("index.html contains %q", bad)
		}
	}
	for path, f := range files {
		if !strings.HasPrefix(path, "/ui/") || !strings.HasSuffix(path, ".js") {
			continue
		}
		for _, bad := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "https://"} {
			if bytes.Contains(f.body, []byte(bad)) {
				t.Errorf("%s contains %q", path, bad)
			}
		}
	}
}

// a client that sends its header slowly is cut off after 5 s.
func TestSlowHeader(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 5 s of real time; -short")
	}
	t.Parallel()
	srv := serve(t, newFake(face.User, face.Waiting))
	begin := time.Now()
	conn, err := net.Dial("tcp", srv.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\n", srv.Addr())
	conn.SetReadDeadline(begin.Add(patience))
	// A reset is an end as well: a server that was slow has not read the header.
	_, err = io.Copy(io.Discard, conn)
	if d := time.Since(begin); errors.Is(err, os.ErrDeadlineExceeded) || d < headerTimeout {
		t.Errorf("cut off after %v (%v), want %v", d, err, headerTimeout)
	}
}
