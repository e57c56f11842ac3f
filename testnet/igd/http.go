package igd

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

const xmlType = `text/xml; charset="utf-8"`

// A page is an answer of the web server.
type page struct {
	status   int
	kind     string
	location string // of a redirect
	body     string
	fault    fault
}

// fault is what goes wrong with the bytes of an answer.
type fault uint8

const (
	sound      fault = iota
	blackHole        // nothing comes, and the connection stays
	endless          // elements without end
	drip             // a byte a second
	deep             // elements inside elements, 20,000 of them
	hugeHeader       // a megabyte of headers
	chunked          // no Content-Length
	cut              // the connection ends in the middle
	hangUp           // the connection ends at once
)

// Page sizes that are too much for every client.
const (
	deepLevels    = 20000
	hugeHeaders   = 1000
	headerLen     = 1000
	dripInterval  = time.Second
	endlessPiece  = 64 << 10
	endlessPieces = 1 << 14 // a gigabyte: nobody's memory
)

// page answers a request of the web server.
func (r *Router) page(now time.Time, from netip.AddrPort, method, path string, body []byte) page {
	r.mu.Lock()
	defer r.mu.Unlock()
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	r.expire(now)
	service, control := strings.CutPrefix(path, controlPath)
	if control && method == http.MethodPost {
		p := r.soap(now, from, service, body)
		p.fault = r.q.controlFault
		return p
	}
	p := page{status: 404, kind: "text/plain", body: "not found\n"}
	switch {
	case method != http.MethodGet:
		p = page{status: 405, kind: "text/plain", body: "not allowed\n"}
	case r.q.redirect != "" && path == descriptionPath:
		p = page{status: 302, location: r.fill(r.q.redirect)}
	case r.q.descriptionStatus != 0:
		p = page{status: r.q.descriptionStatus, kind: "text/plain", body: "no\n"}
	case path == descriptionPath || strings.HasPrefix(path, "/desc/"):
		p = page{status: 200, kind: xmlType, body: r.description(), fault: r.q.descriptionFault}
		if r.q.emptyDescription {
			p.body = ""
		}
	case strings.HasPrefix(path, servicePath):
		p = page{status: 200, kind: xmlType, body: `<?xml version="1.0"?><scpd xmlns="urn:schemas-upnp-org:service-1-0"><specVersion><major>1</major><minor>0</minor></specVersion></scpd>`}
	}
	r.record(Request{Time: now, From: from, Protocol: HTTP, Action: method + " " + path, Result: p.status})
	return p
}

// Handler returns the web server: description and control.
func (r *Router) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		from, err := netip.ParseAddrPort(q.RemoteAddr)
		if err != nil {
			http.Error(w, "no address", http.StatusInternalServerError)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, q.Body, maxSOAP))
		if err != nil {
			http.Error(w, "too long", http.StatusRequestEntityTooLarge)
			return
		}
		r.page(time.Now(), from, q.Method, q.URL.Path, body).write(q.Context(), w)
	})
}

// write sends the page, as wrong as it is meant to be.
func (p page) write(ctx context.Context, w http.ResponseWriter) {
	h := w.Header()
	if p.kind != "" {
		h.Set("Content-Type", p.kind)
	}
	h.Set("Server", "shipworm-testnet/1.0 UPnP/1.1 igd/1.0")
	h.Set("Ext", "")
	if p.location != "" {
		h.Set("Location", p.location)
	}
	switch p.fault {
	case blackHole:
		<-ctx.Done()
		panic(http.ErrAbortHandler)
	case hangUp:
		panic(http.ErrAbortHandler)
	case hugeHeader:
		for i := range hugeHeaders {
			h.Set(fmt.Sprintf("X-Padding-%d", i), strings.Repeat("x", headerLen))
		}
	case deep:
		p.body = `<?xml version="1.0"?>` + strings.Repeat("<a>", deepLevels) + strings.Repeat("</a>", deepLevels)
	}
	if p.fault != endless && p.fault != chunked {
		h.Set("Content-Length", fmt.Sprint(len(p.body)))
	}
	w.WriteHeader(p.status)
	switch p.fault {
	case endless:
		piece := []byte(strings.Repeat("<a>b</a>\n", endlessPiece/9))
		for range endlessPieces {
			if _, err := w.Write(piece); err != nil || ctx.Err() != nil {
				return
			}
		}
	case drip:
		p.drip(ctx, w)
	case chunked:
		for _, b := range []byte(p.body) {
			if _, err := w.Write([]byte{b}); err != nil {
				return
			}
			if b == '\n' || b == '>' {
				_ = http.NewResponseController(w).Flush()
			}
		}
	case cut:
		_, _ = io.WriteString(w, p.body[:len(p.body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	default:
		_, _ = io.WriteString(w, p.body)
	}
}

// drip sends a byte at a time.
func (p page) drip(ctx context.Context, w http.ResponseWriter) {
	_ = http.NewResponseController(w).Flush()
	tick := time.NewTicker(dripInterval)
	defer tick.Stop()
	for _, b := range []byte(p.body) {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, err := w.Write([]byte{b}); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
	}
}
