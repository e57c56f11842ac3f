package igd

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// patience is how long a router that does not answer is waited for, busy how
// long one that does, on a machine that has other things to do.
const (
	patience = 200 * time.Millisecond
	busy     = 20 * time.Second
)

// raw sends a request to the router's web server and returns what comes within
// the wait, and whether the server closed the connection. Where there is an
// until, it waits for as long as a busy router takes until that is so, and then
// for the wait.
func (s served) raw(t *testing.T, request string, until func(text string) bool, wait time.Duration) (text string, closed bool) {
	t.Helper()
	s.Router.mu.Lock()
	port := s.Router.http
	s.Router.mu.Unlock()
	c, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for b := make([]byte, 1<<16); ; {
		if until == nil {
			_ = c.SetReadDeadline(time.Now().Add(wait))
			_, err := io.Copy(&all, c)
			return all.String(), err == nil
		}
		_ = c.SetReadDeadline(time.Now().Add(busy))
		n, err := c.Read(b)
		all.Write(b[:n])
		if err != nil {
			return all.String(), errors.Is(err, io.EOF)
		}
		if until(all.String()) {
			until = nil
		}
	}
}

func get(path string) string {
	return "GET " + path + " HTTP/1.1\r\nHOST: router\r\nConnection: close\r\n\r\n"
}

func post(name, args string) string {
	body := action(name, args)
	return fmt.Sprintf("POST /ctl/WANIPConnection HTTP/1.1\r\nHOST: router\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// wireTests are of the faults that only a connection shows.
func wireTests() map[string]func(*testing.T, served) {
	silent := func(request string) func(*testing.T, served) {
		return func(t *testing.T, s served) {
			if text, closed := s.raw(t, request, nil, patience); text != "" || closed {
				t.Errorf("closed %v, %d bytes: %.100q", closed, len(text), text)
			}
		}
	}
	much := func(request string) func(*testing.T, served) {
		return func(t *testing.T, s served) {
			enough := func(text string) bool { return len(text) >= 4<<20 }
			if text, _ := s.raw(t, request, enough, 0); !enough(text) {
				t.Errorf("%d bytes", len(text))
			}
		}
	}
	shows := func(request string, closes bool, want string) func(*testing.T, served) {
		return func(t *testing.T, s served) {
			wait := busy
			if !closes {
				wait = patience
			}
			there := func(text string) bool { return strings.Contains(text, want) }
			if text, closed := s.raw(t, request, there, wait); !strings.Contains(text, want) || closed != closes {
				t.Errorf("closed %v, want %v and %.50q in %d bytes: %.300q", closed, closes, want, len(text), text)
			}
		}
	}
	description, address := get(descriptionPath), post("GetExternalIPAddress", "")
	return map[string]func(*testing.T, served){
		"black-hole":         silent(description),
		"control-black-hole": silent(address),
		"endless":            much(description),
		"control-endless":    much(address),
		"hang-up":            shows(description, true, ""),
		"description-cut":    shows(description, true, "<friendlyName>"),
		"description-empty":  shows(description, true, "Content-Length: 0\r\n"),
		"deep-xml":           shows(description, true, strings.Repeat("<a>", deepLevels)),
		"huge-headers":       shows(description, true, "X-Padding-999: "+strings.Repeat("x", headerLen)),
		"slow-drip":          shows(description, false, "200 OK"),
		"chunked": func(t *testing.T, s served) {
			shows(description, true, "Transfer-Encoding: chunked\r\n")(t, s)
			shows(address, true, "Transfer-Encoding: chunked\r\n")(t, s)
		},
		"port-moves": func(t *testing.T, s served) {
			at := func() string { return header(ask(t, s.search, fmt.Appendf(nil, search, rootDevice)), "LOCATION") }
			before := at()
			if err := s.server.Reboot(); err != nil {
				t.Fatal(err)
			}
			if after := at(); after == before || after == "" {
				t.Errorf("location %q, then %q", before, after)
			}
			shows(description, true, "<controlURL>")(t, s)
		},
	}
}

// The faults of bytes on a connection; and no router that is stopped waits for
// a client, or leaves a goroutine.
func TestServedFaults(t *testing.T) {
	for name, f := range wireTests() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, ok := Lookup(name); !ok {
				t.Fatal("no such profile")
			}
			s := serve(t, name)
			if ask(t, s.search, fmt.Appendf(nil, search, rootDevice)) == nil {
				t.Fatal("no answer to a search")
			}
			f(t, s)
		})
	}
}
