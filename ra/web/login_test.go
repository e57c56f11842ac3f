package web

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"shipworm/ra/face"
)

// a code lives 30 s and works once.
func TestGate(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tt := range []struct {
		name string
		wait time.Duration
		want bool
	}{
		{"at once", 0, true},
		{"just in time", codeLife - 1, true},
		{"too late", codeLife, false},
		{"much too late", time.Hour, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var g gate
			c := g.mint(start)
			cookie, key, ok := g.redeem(start.Add(tt.wait), c)
			if ok != tt.want {
				t.Fatalf("redeem = %t, want %t", ok, tt.want)
			}
			if g.admits(cookie, key) != tt.want {
				t.Errorf("admits = %t, want %t", !tt.want, tt.want)
			}
			if _, _, again := g.redeem(start.Add(tt.wait), c); again {
				t.Error("the code worked twice")
			}
		})
	}
}

func TestGateRefuses(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var g gate
	if g.admits("", "") {
		t.Error("an empty gate admits empty secrets")
	}
	if _, _, ok := g.redeem(now, ""); ok {
		t.Error("an empty gate takes an empty code")
	}
	cookie, key, _ := g.redeem(now, g.mint(now))
	cookie2, key2, _ := g.redeem(now, g.mint(now))
	for name, s := range map[string][2]string{
		"swapped": {key, cookie}, "mixed": {cookie, key2}, "mixed back": {cookie2, key}, "no key": {cookie, ""}, "no cookie": {"", key},
	} {
		if g.admits(s[0], s[1]) {
			t.Errorf("%s secrets are admitted", name)
		}
	}
	if !g.admits(cookie, key) || !g.admits(cookie2, key2) {
		t.Error("true secrets are refused")
	}
}

// A wrong code burns nothing, and the tables stay small whatever is minted.
func TestGateBounds(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var g gate
	first := g.mint(now)
	for range 1000 {
		if _, _, ok := g.redeem(now, "wrong"); ok {
			t.Fatal("a wrong code worked")
		}
	}
	for range maxCodes - 1 {
		g.mint(now)
	}
	if _, _, ok := g.redeem(now, first); !ok {
		t.Error("wrong guesses burned a good code")
	}
	seen := map[string]bool{}
	for range 1000 {
		c := g.mint(now)
		if seen[c] || len(c) < 22 {
			t.Fatalf("code %q: repeated, or under 128 bits", c)
		}
		seen[c] = true
	}
	if len(g.codes) != maxCodes {
		t.Errorf("%d codes are kept, want %d", len(g.codes), maxCodes)
	}
	for range 100 {
		g.redeem(now, g.mint(now))
	}
	if len(g.seats) != maxSeats {
		t.Errorf("%d seats are kept, want %d", len(g.seats), maxSeats)
	}
}

// the code is in the fragment, the secret in an HttpOnly SameSite=Strict
// cookie, and a used code, a wrong one and an old one get the same answer.
func TestLogin(t *testing.T) {
	srv := serve(t, newFake(face.User, face.Waiting))
	c := &client{t: t, base: "http://" + srv.Addr().String()}
	if u := srv.URL(); !strings.HasPrefix(u, c.base+"/#") || strings.Contains(u, "?") {
		t.Errorf("URL %q does not carry its code in the fragment", u)
	}
	code := c.code(srv)
	res, body := c.do("POST", "/login", `{"code":"`+code+`"}`, "Origin", c.base)
	if res.StatusCode != http.StatusOK || !strings.Contains(body, `"key"`) {
		t.Fatalf("login: %s %s", res.Status, body)
	}
	ck := res.Cookies()[0]
	if !ck.HttpOnly || ck.SameSite != http.SameSiteStrictMode || ck.Path != "/" || ck.Domain != "" || ck.MaxAge != 0 {
		t.Errorf("cookie %+v", ck)
	}
	if strings.Contains(body, ck.Value) {
		t.Error("the cookie's value is given to the script")
	}

	_, used := c.do("POST", "/login", `{"code":"`+code+`"}`, "Origin", c.base)
	_, wrong := c.do("POST", "/login", `{"code":"AAAAAAAAAAAAAAAAAAAAAA"}`, "Origin", c.base)
	old := c.code(srv)
	later := time.Now().Add(codeLife)
	srv.now = func() time.Time { return later }
	res, expired := c.do("POST", "/login", `{"code":"`+old+`"}`, "Origin", c.base)
	if res.StatusCode != http.StatusForbidden || used != wrong || wrong != expired {
		t.Errorf("answers differ: used %q, wrong %q, expired %q (%s)", used, wrong, expired, res.Status)
	}
	for name, bad := range map[string]string{
		"no JSON": "code", "trailing data": `{"code":"x"}{}`, "too long": `{"code":"` + strings.Repeat("x", maxLogin) + `"}`, "empty": "",
	} {
		if res, _ := c.do("POST", "/login", bad, "Origin", c.base); res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", name, res.Status)
		}
	}
}
