//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/websocket"

	"shipworm/ra/face"
	"shipworm/ra/rfb"
	"shipworm/testnet/lab"
)

// A page does what the Helper's web page does, without a browser: it logs in
// with the code of the URL, follows the events, and opens the viewer's
// WebSocket when the screen is shared. It offers what noVNC offers, as far as
// our decoder reads it.
type page struct {
	host   *lab.Host
	want   []byte // the User's display, as the decoder holds pixels
	times  pageTimes
	viewer *rfb.Viewer
	screen *stamped
	events net.Conn

	changes  chan time.Time // pixels differ from those before
	complete chan time.Time // the picture equals want, once
	failed   chan error     // why the viewer ended
}

type pageTimes struct{ shared, serverInit, firstByte time.Time }

// noVNC's preferences, in its order.
var pageEncodings = []int32{
	rfb.EncCopyRect, rfb.EncTight, rfb.EncZRLE, rfb.EncRaw, rfb.EncQuality0 + 6,
	rfb.EncDesktopSize, rfb.EncLastRect, rfb.EncFence, rfb.EncContinuous, rfb.EncCursor,
}

func newPage(host *lab.Host, want []byte) *page {
	return &page{host: host, want: want, changes: make(chan time.Time, 1024),
		complete: make(chan time.Time, 1), failed: make(chan error, 1)}
}

// open returns when the picture begins to arrive.
func (p *page) open(ctx context.Context, address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	cookie, key, err := p.login(ctx, u)
	if err != nil {
		return err
	}
	events, err := p.dial(ctx, u, "/events", cookie, key)
	if err != nil {
		return err
	}
	p.events = events
	d := json.NewDecoder(events)
	for shared := false; !shared; {
		var push struct{ View *face.View }
		if err := d.Decode(&push); err != nil {
			return fmt.Errorf("events: %w", err)
		}
		if push.View != nil && push.View.End != nil {
			return errors.New(push.View.End.Reason)
		}
		shared = push.View != nil && push.View.State == face.Screen
	}
	p.times.shared = time.Now()
	go func() { // later events are read and ignored, so that the page stays
		for d.Decode(new(json.RawMessage)) == nil {
		}
	}()
	conn, err := p.dial(ctx, u, "/rfb", cookie, key)
	if err != nil {
		return err
	}
	p.screen = &stamped{Conn: conn}
	if err := rfb.Handshake(p.screen); err != nil {
		return err
	}
	if p.viewer, err = rfb.NewViewer(p.screen, rfb.ViewerConfig{Encodings: pageEncodings, Continuous: true}); err != nil {
		return err
	}
	p.times.serverInit = time.Now()
	p.times.firstByte = p.screen.await()
	go p.watch()
	return nil
}

// login exchanges the code in the URL's fragment for the two secrets.
func (p *page) login(ctx context.Context, u *url.URL) (cookie, key string, err error) {
	t := &http.Transport{DialContext: p.connect}
	defer t.CloseIdleConnections()
	body, _ := json.Marshal(map[string]string{"code": u.Fragment})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+u.Host+"/login", bytes.NewReader(body))
	if err != nil {
		return "", "", err
	}
	req.Header.Set("Origin", "http://"+u.Host)
	resp, err := (&http.Client{Transport: t}).Do(req)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	var answer struct{ Key string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK {
		return "", "", fmt.Errorf("login: %s: %w", resp.Status, err)
	}
	var pairs []string
	for _, c := range resp.Cookies() {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	return strings.Join(pairs, "; "), answer.Key, nil
}

// dial opens a WebSocket of the page.
func (p *page) dial(ctx context.Context, u *url.URL, path, cookie, key string) (net.Conn, error) {
	cfg, err := websocket.NewConfig("ws://"+u.Host+path, "http://"+u.Host)
	if err != nil {
		return nil, err
	}
	cfg.Protocol = []string{"shipworm", "key." + key}
	cfg.Header.Set("Cookie", cookie)
	conn, err := p.connect(ctx, "tcp4", u.Host)
	if err != nil {
		return nil, err
	}
	ws, err := websocket.NewClient(cfg, conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	ws.PayloadType = websocket.BinaryFrame
	return ws, nil
}

// connect dials inside the Helper's host.
func (p *page) connect(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = p.host.Do(func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// watch reads the picture until the viewer ends.
func (p *page) watch() {
	before := bytes.Clone(p.viewer.Frame().Pix)
	equal := false
	for {
		ev, err := p.viewer.Next()
		if err != nil {
			p.failed <- err
			return
		}
		if ev != rfb.Updated && ev != rfb.Resized {
			continue
		}
		now := time.Now()
		pix := p.viewer.Frame().Pix
		if bytes.Equal(before, pix) {
			continue // a cursor, or the same again
		}
		before = append(before[:0], pix...)
		if !equal && bytes.Equal(pix, p.want) {
			equal = true
			p.complete <- now
		}
		select {
		case p.changes <- now:
		default: // nobody waits for that many
		}
	}
}

// whole waits until the picture equals the display.
func (p *page) whole(limit time.Duration) (time.Time, error) {
	return p.await(p.complete, limit, "the whole picture")
}

// changed waits for the next change of the picture.
func (p *page) changed(limit time.Duration) (time.Time, error) {
	return p.await(p.changes, limit, "a changed picture")
}

func (p *page) await(c <-chan time.Time, limit time.Duration, what string) (time.Time, error) {
	select {
	case t := <-c:
		return t, nil
	case err := <-p.failed:
		return time.Time{}, fmt.Errorf("viewer: %w", err)
	case <-time.After(limit):
		return time.Time{}, fmt.Errorf("%s was not seen within %v", what, limit)
	}
}

// settle returns once the picture has not changed for d.
func (p *page) settle(d time.Duration) {
	for {
		select {
		case <-p.changes:
		case <-time.After(d):
			return
		}
	}
}

func (p *page) input(in rfb.Input) error {
	_, err := p.screen.Write(in.AppendTo(nil))
	return err
}

// received returns the bytes of the picture's stream so far.
func (p *page) received() int64 { return p.screen.n.Load() }

func (p *page) close() {
	p.screen.Close()
	p.events.Close()
}

// stamped is the viewer's connection. It counts what is read, and can look
// ahead for the next byte without taking it.
type stamped struct {
	net.Conn
	n     atomic.Int64
	ahead []byte
}

func (s *stamped) Read(b []byte) (int, error) {
	if len(s.ahead) > 0 {
		n := copy(b, s.ahead)
		s.ahead = s.ahead[n:]
		return n, nil
	}
	n, err := s.Conn.Read(b)
	s.n.Add(int64(n))
	return n, err
}

// await returns when there is something to read. Nobody else may read.
func (s *stamped) await() time.Time {
	var b [1]byte
	n, _ := s.Conn.Read(b[:]) // an error comes again at the next Read
	s.n.Add(int64(n))
	s.ahead = append(s.ahead, b[:n]...)
	return time.Now()
}
