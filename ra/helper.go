package ra

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"shipworm/internal/clean"
	"shipworm/ra/channel"
	"shipworm/ra/face"
	"shipworm/ra/invite"
	"shipworm/ra/session"
	"shipworm/ra/sessionlog"
)

// ErrNoNetwork reports an invitation none of whose addresses can be dialled
// over the networks at hand.
var ErrNoNetwork = errors.New("no network for the addresses of this invitation")

// HelperConfig says whom to help. Invitation, Password and one of Networks
// must be set; the networks stay the caller's.
type HelperConfig struct {
	// Name is what the Helper calls himself, at most 64 bytes. The User sees
	// it marked as not verified.
	Name string

	Invitation *invite.Invitation
	Password   string // in any form that invite.Normalize takes

	// Networks are what candidates are dialled over; for each candidate the
	// first that does.
	Networks []Network
	// DialTimeout is how long to wait for an answer; 0 means 15 s.
	DialTimeout time.Duration

	// LogDir holds the session log; "" means the documents folder.
	LogDir string
	// Session holds the timers; the zero value their documented defaults.
	Session session.Config
	// Logger may be nil. It never hears of secrets.
	Logger *slog.Logger
}

// String leaves the password out.
func (c HelperConfig) String() string { return fmt.Sprintf("ra.HelperConfig{%v}", c.Invitation) }

// GoString is String.
func (c HelperConfig) GoString() string { return c.String() }

// A Helper is the side that sees the desktop.
type Helper struct {
	*core
	conf  HelperConfig
	epoch atomic.Uint32 // that input carries now; 0: there is no control

	streams sync.Mutex // guards what follows
	conn    *channel.Conn
	viewers sync.WaitGroup
	nview   int

	input sync.Mutex     // held while input is written
	keys  channel.Stream // the input stream, nil before the first event
	dead  bool           // the input stream has failed
}

// NewHelper returns a Helper who does nothing before Run. Its view names the
// addresses that Run will dial.
func NewHelper(c HelperConfig) (*Helper, error) {
	if c.Invitation == nil || c.Password == "" {
		return nil, errors.New("ra: Invitation and Password are needed")
	}
	c.Session.Name = c.Name
	h := &Helper{core: newCore(session.NewHelper(c.Session), c.LogDir, c.Logger), conf: c}
	var list []face.Candidate
	for _, cand := range c.Invitation.Candidates {
		if h.network(cand) != nil {
			list = append(list, face.Candidate{Kind: cand.Kind, Address: cand.Addr.String()})
		}
	}
	if len(list) == 0 {
		return nil, ErrNoNetwork
	}
	h.m.SetDialing(list)
	h.view = h.m.View()
	h.follow = func() {
		epoch, ok := h.m.Input()
		if !ok {
			epoch = 0
		}
		h.epoch.Store(epoch)
	}
	return h, nil
}

func (h *Helper) network(c invite.Candidate) Network {
	for _, n := range h.conf.Networks {
		if dials(n, c.Kind) {
			return n
		}
	}
	return nil
}

// Run dials, asks for consent and runs the session until its end. It returns
// nil if the session ended by somebody's wish, ctx's error if that was ctx,
// and else one of the errors of this package or of package channel. The
// session log is closed when it returns.
func (h *Helper) Run(ctx context.Context) error {
	h.openLog()
	defer h.closeLog()
	h.note(sessionlog.InvitationOpened, fmt.Sprintf("The invitation of %q (not verified) has been opened.", clean.Line(h.conf.Invitation.User, clean.MaxName)))
	if err := h.run(ctx); err != nil {
		return err
	}
	return h.result(ctx)
}

func (h *Helper) run(ctx context.Context) error {
	dialCtx, cancel := h.untilEnded(ctx)
	defer cancel()
	conn, pc, err := h.dial(dialCtx)
	switch {
	case err == nil:
	case dialCtx.Err() != nil:
		h.Stop()
		return nil
	case errors.Is(err, channel.ErrPassword):
		h.fail(channel.ErrPassword, sessionlog.WrongPassword, refusedReason)
		return nil
	default:
		h.fail(err, sessionlog.ConnectionFailed, oneLine(err))
		return nil
	}
	defer pc.Close()
	control, err := conn.OpenStream(dialCtx, channel.KindControl)
	if err == nil {
		err = h.do(func(now time.Time, out *session.Output) error { return h.m.Connected(now, conn.RemoteAddr(), out) })
	}
	if err != nil {
		conn.Close(uint64(session.ByeStop), "")
		if dialCtx.Err() != nil {
			h.Stop()
		} else {
			h.hungUp(err)
		}
		return nil
	}
	h.setConn(conn)
	h.converse(ctx, conn, control, func(ctx context.Context) {
		// The User opens no streams: AcceptStream returns when one breaks that
		// rule, or ctx ends.
		if _, s, err := conn.AcceptStream(ctx); err == nil {
			s.CancelRead(0)
			s.CancelWrite(0)
			h.do(func(now time.Time, out *session.Output) error {
				h.m.Malformed(now, errors.New("a stream opened by the User"), out)
				return nil
			})
		}
		<-ctx.Done()
		h.setConn(nil)
	})
	h.viewers.Wait()
	return nil
}

// dial races the candidates. The returned socket is closed by the caller,
// after the connection.
func (h *Helper) dial(ctx context.Context) (*channel.Conn, net.PacketConn, error) {
	var targets []channel.Target
	for _, c := range h.conf.Invitation.Candidates {
		if n := h.network(c); n != nil {
			targets = append(targets, channel.Target{ListenPacket: n.ListenPacket, Addr: c.Addr})
		}
	}
	return channel.Race(ctx, targets, channel.DialConfig{
		Invitation: h.conf.Invitation, Password: h.conf.Password,
		Timeout: h.conf.DialTimeout, Logger: h.logger,
	})
}

// oneLine is the text of joined errors without the line feeds and without
// repetitions.
func oneLine(err error) string {
	lines := strings.Split(err.Error(), "\n")
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "; ")
}
