package web

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	codeLife = 30 * time.Second
	maxCodes = 4
	maxSeats = 8
	maxLogin = 1 << 10 // bytes of a login request

	// keyProtocol prefixes the page's key among the subprotocols of a
	// WebSocket: the one place besides the URL where a browser lets a page
	// put a secret into the upgrade request.
	protocol    = "shipworm"
	keyProtocol = "key."
)

// A gate holds the one-time codes and the seats they were exchanged for. It
// keeps hashes, compared whole, so that neither a memory dump nor the time of
// a comparison gives a secret away.
//
// A seat has two secrets. The cookie cannot be read by any script, but browsers
// send it to every port of 127.0.0.1, that is to whatever another local user
// serves there. The key is kept by the page, where no other port can look, but
// a script of the page can. One without the other opens nothing.
type gate struct {
	mu    sync.Mutex
	codes []code
	seats []seat
}

type code struct {
	hash    [32]byte
	expires time.Time
}

type seat struct{ cookie, key [32]byte }

// mint returns a new code. The oldest unused one makes room if there are too
// many.
func (g *gate) mint(now time.Time) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := token(16)
	g.codes = append(last(g.codes, maxCodes-1), code{sha256.Sum256([]byte(c)), now.Add(codeLife)})
	return c
}

// redeem exchanges a code for a seat, once.
func (g *gate) redeem(now time.Time, c string) (cookie, key string, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h := sha256.Sum256([]byte(c))
	g.codes = slices.DeleteFunc(g.codes, func(c code) bool {
		if c.hash != h {
			return !now.Before(c.expires)
		}
		ok = now.Before(c.expires)
		return true
	})
	if !ok {
		return "", "", false
	}
	cookie, key = token(32), token(32)
	g.seats = append(last(g.seats, maxSeats-1), seat{sha256.Sum256([]byte(cookie)), sha256.Sum256([]byte(key))})
	return cookie, key, true
}

// admits reports whether both secrets are those of one seat.
func (g *gate) admits(cookie, key string) bool {
	want := seat{sha256.Sum256([]byte(cookie)), sha256.Sum256([]byte(key))}
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Contains(g.seats, want)
}

func last[T any](s []T, n int) []T {
	return s[max(0, len(s)-n):]
}

// cookieName carries the port, so that the two sides of a rehearsal on one
// machine do not overwrite each other's cookie.
func (s *Server) cookieName() string {
	_, port, _ := net.SplitHostPort(s.ln.Addr().String())
	return "shipworm-" + port
}

// login answers POST /login {"code": "..."} with the cookie and the key. Wrong,
// used and expired codes get the same answer.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	var in struct{ Code string }
	if err := readJSON(w, r, &in); err != nil {
		s.refuse(w, http.StatusBadRequest, "not a login")
		return
	}
	cookie, key, ok := s.gate.redeem(s.now(), in.Code)
	if !ok {
		s.refuse(w, http.StatusForbidden, "this link was used before or has expired")
		return
	}
	// No Secure: the page is plain http on loopback, and not every browser
	// takes such a cookie there.
	http.SetCookie(w, &http.Cookie{
		Name: s.cookieName(), Value: cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]string{"key": key})
}

// resume answers POST /resume {"key": "..."}: 204 if the page may open its
// WebSockets, which themselves cannot tell it why they failed.
func (s *Server) resume(w http.ResponseWriter, r *http.Request) {
	var in struct{ Key string }
	if err := readJSON(w, r, &in); err != nil {
		s.refuse(w, http.StatusBadRequest, "not a key")
		return
	}
	if !s.admitted(r, in.Key) {
		s.refuse(w, http.StatusForbidden, "not logged in")
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) admitted(r *http.Request, key string) bool {
	c, err := r.Cookie(s.cookieName())
	return err == nil && s.gate.admits(c.Value, key)
}

// keyOf returns the key among the subprotocols of an upgrade, or "".
func keyOf(r *http.Request) string {
	for _, h := range r.Header.Values("Sec-Websocket-Protocol") {
		for p := range strings.SplitSeq(h, ",") {
			if key, ok := strings.CutPrefix(strings.TrimSpace(p), keyProtocol); ok {
				return key
			}
		}
	}
	return ""
}

var errTrailing = errors.New("data after the value")

func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxLogin))
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errTrailing
	}
	return nil
}
