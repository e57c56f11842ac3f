package web

import (
	"net"
	"net/http"
	"strings"
)

// guard applies the rules that hold for every request. Cookies and
// same-site rules alone do not stop a DNS name rebound to 127.0.0.1 nor a
// WebSocket opened by a foreign page, so Host and Origin are compared here.
func (s *Server) guard(next http.Handler) http.Handler {
	_, port, _ := net.SplitHostPort(s.ln.Addr().String())
	hosts := map[string]bool{"127.0.0.1:" + port: true, "localhost:" + port: true}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		known := hosts[r.Host]
		setHeaders(w.Header(), r.Host, known)
		switch {
		case !known:
			s.refuse(w, http.StatusMisdirectedRequest, "Host is not ours")
		case r.URL.RawQuery != "":
			s.refuse(w, http.StatusBadRequest, "queries are not used")
		case (!safe(r.Method) || isUpgrade(r)) && !sameOrigin(r):
			s.refuse(w, http.StatusForbidden, "Origin is not ours")
		case foreignFetch(r):
			s.refuse(w, http.StatusForbidden, "asked for by another site")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (s *Server) refuse(w http.ResponseWriter, code int, why string) {
	s.refused.Add(1)
	s.log.Debug("web: request refused", "status", code, "why", why)
	http.Error(w, why, code)
}

// setHeaders writes what every answer carries, errors included. Scripts come
// from this server only and, by Trusted Types, can write no markup: whatever
// a peer sends stays text. data: images are noVNC's JPEG rectangles and
// its cursor. The WebSocket origin is spelled out because not every browser
// reads 'self' as covering ws:.
func setHeaders(h http.Header, host string, known bool) {
	connect := "'self'"
	if known {
		connect += " ws://" + host
	}
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "+
		"connect-src "+connect+"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "+
		"require-trusted-types-for 'script'; trusted-types 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), display-capture=()")
}

func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead
}

// isUpgrade is generous: anything that smells of an upgrade needs an Origin.
func isUpgrade(r *http.Request) bool {
	return r.Header.Get("Upgrade") != "" || r.Header.Get("Sec-Websocket-Key") != "" ||
		strings.Contains(strings.ToLower(r.Header.Get("Connection")), "upgrade")
}

// sameOrigin wants exactly one Origin, equal to the (already allowed) Host.
// A request without one is not from a current browser and gets nothing.
func sameOrigin(r *http.Request) bool {
	o := r.Header.Values("Origin")
	return len(o) == 1 && o[0] == "http://"+r.Host
}

// foreignFetch reports a request that the browser says another page made. A
// person may follow a link to the page itself from anywhere. "same-site" is
// foreign too: it is another port of this machine.
func foreignFetch(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return false
	}
	navigation := r.URL.Path == "/" && safe(r.Method) &&
		r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	return !navigation
}
