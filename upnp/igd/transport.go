package igd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

// Bounds of one request.
const (
	MaxHeader = 16 << 10
	MaxBody   = 256 << 10
	Timeout   = 3 * time.Second
)

// Errors of a request.
var (
	ErrRedirect  = errors.New("igd: the device redirects")
	ErrElsewhere = errors.New("igd: the address is not the device's")
	ErrBody      = fmt.Errorf("igd: the answer is longer than %d octets", MaxBody)
)

// DialFunc connects to a device over TCP.
type DialFunc func(ctx context.Context, device netip.AddrPort) (net.Conn, error)

// client makes requests of one device. It connects nowhere else, follows no
// redirect, knows no proxy, no cookie and no compression, and has read and
// checked an answer's whole body before anybody sees it. It keeps no
// connection, so that nothing of it outlives a request.
type client struct {
	device netip.Addr
	http   http.Client
	base   *http.Transport
}

func newClient(device netip.Addr, dial DialFunc) *client {
	c := &client{device: device}
	c.base = &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			to, err := netip.ParseAddrPort(addr)
			if err != nil || to.Addr().WithZone("") != device.WithZone("") {
				return nil, fmt.Errorf("%w: %s", ErrElsewhere, addr)
			}
			return dial(ctx, netip.AddrPortFrom(device, to.Port()))
		},
		DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: MaxHeader,
	}
	c.http = http.Client{
		Transport: c, Timeout: Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return ErrRedirect },
	}
	return c
}

// RoundTrip implements http.RoundTripper.
func (c *client) RoundTrip(q *http.Request) (*http.Response, error) {
	if !c.owns(q.URL) {
		return nil, fmt.Errorf("%w: %s", ErrElsewhere, q.URL.Host)
	}
	r, err := c.base.RoundTrip(q)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	if r.StatusCode/100 == 3 {
		return nil, ErrRedirect
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, MaxBody+1))
	switch {
	case len(b) > MaxBody:
		err = ErrBody
	case err == nil:
		err = checkXML(b)
	}
	if err != nil {
		return nil, err
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	return r, nil
}

// owns reports whether an address is the device's.
func (c *client) owns(u *url.URL) bool {
	host, err := netip.ParseAddr(u.Hostname())
	if err != nil || u.Scheme != "http" || u.User != nil || host.WithZone("") != c.device.WithZone("") {
		return false
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		return err == nil && n != 0
	}
	return true
}

// get fetches a document.
func (c *client) get(ctx context.Context, u *url.URL) ([]byte, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	r, err := c.http.Do(q)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("igd: %s", http.StatusText(r.StatusCode))
	}
	return io.ReadAll(r.Body)
}
