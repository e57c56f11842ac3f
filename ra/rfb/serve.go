package rfb

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"log/slog"
	"net"
	"time"

	"shipworm/ra/screen"
)

// Defaults of a ServerConfig.
const (
	DefaultSettle   = 300 * time.Millisecond
	DefaultInterval = 16 * time.Millisecond
)

const (
	maxInFlight = 2  // updates that the viewer has not confirmed (RR-05)
	refineBatch = 64 // tiles made exact in one update, so that news come between
	clientQueue = 64 // client messages read ahead
	maxName     = 256
	flushSize   = 64 << 10 // bytes gathered before a write
)

// A ServerConfig configures Serve. Only Source must be set.
type ServerConfig struct {
	Source screen.Source
	// Name is the desktop's name for the viewer's title, at most 256 bytes.
	Name string
	// Lossless never sends JPEG. Otherwise photo-like tiles go as JPEG first,
	// if the viewer offered a JPEG quality, and are sent again without loss
	// once they have not changed for Settle.
	Lossless bool
	// Settle is how long a tile must rest before it is made exact; 0 means
	// DefaultSettle.
	Settle time.Duration
	// Interval is the least time between two updates; 0 means DefaultInterval.
	Interval time.Duration
	// Gate stops everything of the screen while it is shut; nil never stops.
	Gate *Gate
	// Logger may be nil.
	Logger *slog.Logger
}

// Serve shows a desktop to the viewer at the other end of rw: it sends
// ServerInit and then what changes, as fast as the viewer takes it: at most
// two updates are unconfirmed, and each holds the newest pixels. While nothing
// changes nothing is sent.
//
// It blocks until ctx ends (returning its error), the viewer leaves (nil), the
// viewer breaks the protocol (ErrProtocol), or the source ends. To be able to
// end a blocked Read or Write, rw must have SetDeadline or Close; it cannot be
// used afterwards.
func Serve(ctx context.Context, rw io.ReadWriter, cfg ServerConfig) error {
	if cfg.Source == nil {
		return errors.New("rfb: no source")
	}
	if cfg.Settle == 0 {
		cfg.Settle = DefaultSettle
	}
	if cfg.Interval == 0 {
		cfg.Interval = DefaultInterval
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &server{cfg: cfg, w: rw, watch: cfg.Source.Watch()}
	defer s.watch.Close()
	s.enc.pc = newPixelCodec(Native())
	s.pic = newPicture(cfg.Source.Size())
	s.pol = policy{settle: cfg.Settle, batch: refineBatch}

	unblock := context.AfterFunc(ctx, func() { interrupt(rw) })
	defer unblock()
	msgs := make(chan ClientMessage, clientQueue)
	readErr := make(chan error, 1)
	quit := make(chan struct{})
	go func() {
		defer close(msgs)
		for {
			m, err := ReadClientMessage(rw)
			if err != nil {
				readErr <- err
				return
			}
			select {
			case msgs <- m:
			case <-quit:
				readErr <- net.ErrClosed
				return
			}
		}
	}()
	err := s.run(ctx, msgs)
	close(quit)
	interrupt(rw)
	rerr := <-readErr
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil && errors.Is(rerr, io.EOF):
		return nil
	case err == nil:
		return fmt.Errorf("rfb: %w", rerr)
	}
	return fmt.Errorf("rfb: %w", err)
}

// interrupt ends blocked and later calls of Read and Write.
func interrupt(rw io.ReadWriter) {
	switch c := rw.(type) {
	case interface{ SetDeadline(time.Time) error }:
		_ = c.SetDeadline(time.Unix(1, 0))
	case io.Closer:
		_ = c.Close()
	}
}

// A server is one Serve. Only its goroutine touches it.
type server struct {
	cfg   ServerConfig
	w     io.Writer
	watch *screen.Watch
	enc   encoder
	pic   *picture
	pol   policy
	out   []byte

	// What the viewer can read.
	encodings                     []int32
	canCursor, canResize          bool
	canFence, canContinuous       bool
	wanted                        image.Rectangle // union of open requests
	asked                         bool            // a request is open
	continuous                    bool
	area                          image.Rectangle // of continuous updates
	stale, cursorStale, sizeStale bool            // something to look at or tell
	cursor                        *screen.Cursor  // to be sent

	sent, confirmed uint32 // updates, while canFence
	last            time.Time
}

func (s *server) run(ctx context.Context, msgs <-chan ClientMessage) error {
	name := s.cfg.Name
	if name == "" {
		name = "shipworm"
	}
	s.out = appendServerInit(s.out, s.pic.now.Size, name[:min(len(name), maxName)])
	if err := s.flush(); err != nil {
		return err
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		gate := s.cfg.Gate.change()
		wake, err := s.update(time.Now())
		if err != nil {
			return err
		}
		var alarm <-chan time.Time
		if !wake.IsZero() {
			timer.Reset(time.Until(wake))
			alarm = timer.C
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m, ok := <-msgs:
			if !ok {
				return nil
			}
			if err := s.handle(m); err != nil {
				return err
			}
		case <-s.watch.C():
			if err := s.watch.Err(); err != nil {
				return fmt.Errorf("screen ended: %w", err)
			}
			s.stale = true
		case <-gate:
		case <-alarm:
		}
	}
}

// update sends what there is to send, if it may be sent now. It returns when
// to try again even if nothing happens; zero for never.
func (s *server) update(now time.Time) (time.Time, error) {
	if !s.asked && !s.continuous || s.canFence && s.sent-s.confirmed >= maxInFlight {
		return time.Time{}, nil
	}
	refine, lossy := s.pic.due(s.pol.settle)
	if !s.stale && (!lossy || now.Before(refine)) {
		return refine, nil
	}
	if next := s.last.Add(s.cfg.Interval); now.Before(next) {
		return next, nil
	}
	open, err := s.cfg.Gate.pass(s.look)
	if err != nil || !open {
		return time.Time{}, err
	}
	if err := s.send(now); err != nil {
		return time.Time{}, err
	}
	refine, _ = s.pic.due(s.pol.settle)
	return refine, nil
}

// look brings the picture up to date with the desktop.
// It is the only place that reads the desktop, and runs only while the gate is
// held open.
func (s *server) look() error {
	if !s.stale {
		return nil
	}
	s.stale = false
	c := s.watch.Take()
	if err := s.watch.Err(); err != nil {
		return fmt.Errorf("screen ended: %w", err)
	}
	s.cursorStale = s.cursorStale || c.Cursor
	if c.Resized {
		if size := s.cfg.Source.Size(); s.canResize && size != s.pic.now.Size {
			s.resize(size)
		} else {
			// The viewer's size is fixed: it sees the desktop's upper left
			// part, black where there is none.
			s.pic.now.Fill(s.pic.now.Bounds(), 0)
			s.pic.painted(s.pic.now.Bounds())
		}
	}
	for _, r := range c.Rects {
		if err := s.cfg.Source.Grab(s.pic.now, r); err != nil {
			return fmt.Errorf("screen: %w", err)
		}
		s.pic.painted(r)
	}
	if !s.cursorStale || !s.canCursor {
		return nil
	}
	cursor, err := s.cfg.Source.Cursor()
	if err != nil {
		return fmt.Errorf("screen: %w", err)
	}
	s.cursor, s.cursorStale = &cursor, false
	return nil
}

func (s *server) resize(size image.Point) {
	if whole := s.pic.now.Bounds(); s.area == whole {
		s.area = image.Rectangle{Max: size}
	}
	s.pic = newPicture(size)
	s.sizeStale = true
}

// send sends one update if there is anything to tell.
func (s *server) send(now time.Time) error {
	if s.sizeStale {
		// No pixels go with the new size (community text, "DesktopSize"):
		// they follow in the next update.
		s.sizeStale, s.stale = false, true
		s.out = appendHeader(appendUpdate(s.out, 1), s.pic.now.Bounds(), EncDesktopSize)
		return s.finish(now)
	}
	region := s.wanted
	if s.continuous {
		region = region.Union(s.area)
	}
	pieces := s.pic.plan(now, region, s.pol, &s.enc.sw)
	rects := len(pieces)
	if s.cursor != nil {
		rects++
	}
	if rects == 0 {
		return nil
	}
	s.out = appendUpdate(s.out, rects)
	if s.cursor != nil {
		s.out = s.enc.cursor(s.out, *s.cursor)
		s.cursor = nil
	}
	for _, p := range pieces {
		s.out = s.enc.rect(s.out, s.pic.now, p)
		if len(s.out) >= flushSize {
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
	return s.finish(now)
}

// finish ends an update: the viewer confirms it when it has drawn it.
func (s *server) finish(now time.Time) error {
	s.last = now
	s.asked, s.wanted = false, image.Rectangle{}
	if s.canFence {
		s.sent++
		s.out = fenceFor(s.sent).AppendTo(s.out)
	}
	return s.flush()
}

func (s *server) flush() error {
	_, err := s.w.Write(s.out)
	s.out = s.out[:0]
	return err
}
