package ra

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"shipworm/ra/channel"
	"shipworm/ra/face"
	"shipworm/ra/invite"
	"shipworm/ra/session"
	"shipworm/ra/sessionlog"
)

// controlTimeout is how long a Helper who has proved the password may take to
// open the control stream.
const controlTimeout = 10 * time.Second

// UserConfig says who shares what with whom. Endpoints, Screen and Injector must
// be set; they stay the caller's, who closes them after Run.
type UserConfig struct {
	// Name is what the User calls himself, at most 64 bytes.
	Name string
	// File is where the invitation is written; "" means
	// [invite.FileName] in the working directory. An older invitation there
	// is replaced, any other file is not.
	File string
	// Life is how long the invitation lasts; 0 means 6 hours.
	Life time.Duration

	// Endpoints are where the Helper finds the User, the best first.
	Endpoints []Endpoint
	Screen    Screen
	Injector  Injector
	// Esc watches the User's keyboard. Nil means that Esc cannot end control:
	// control is then never granted.
	Esc EscWatcher

	// Lossless never sends JPEG.
	Lossless bool
	// LogDir holds the session log; "" means the documents folder.
	LogDir string
	// Session holds the timers; the zero value their documented defaults.
	Session session.Config
	// Logger may be nil. It never hears of secrets.
	Logger *slog.Logger

	// seal is invite.Invitation.Seal, but for tests that do without its key
	// derivation.
	seal func(inv *invite.Invitation, password string) ([]byte, error)
}

// A User is the side whose desktop is shared.
type User struct {
	*core
	conf UserConfig
	gate *inputGate
	show *screenGate
	made func(*invite.Invitation) // for tests: what the file holds, unopened
}

// NewUser returns a User who does nothing before Run.
func NewUser(c UserConfig) (*User, error) {
	if len(c.Endpoints) == 0 || c.Screen == nil || c.Injector == nil {
		return nil, errors.New("ra: Endpoints, Screen and Injector are needed")
	}
	if c.File == "" {
		c.File = invite.FileName
	}
	if c.seal == nil {
		c.seal = (*invite.Invitation).Seal
	}
	c.Session.Name = c.Name
	u := &User{
		core: newCore(session.NewUser(c.Session), c.LogDir, c.Logger),
		conf: c,
		gate: newInputGate(c.Injector),
		show: newScreenGate(),
	}
	u.follow = func() {
		u.gate.set(u.m.Gate())
		s := u.m.State()
		u.show.set((s == session.Screen || s == session.Control) && !u.m.Paused())
	}
	return u, nil
}

// Answer is the User's answer to an open question. Control is not
// granted where Esc could not end it.
func (u *User) Answer(question uint64, yes bool) error {
	if q := u.View().Question; yes && u.conf.Esc == nil && q != nil && q.ID == question && q.Kind == face.AskControl {
		return fmt.Errorf("%w: the Esc key cannot be watched here", face.ErrNotAllowed)
	}
	return u.core.Answer(question, yes)
}

// Run makes the invitation, waits for the Helper and runs the session until
// its end. It returns nil if the session ended by somebody's wish, ctx's error
// if that was ctx, and else one of the errors of this package or of package
// channel. The session log is closed when it returns.
func (u *User) Run(ctx context.Context) error {
	u.openLog()
	defer u.closeLog()
	if err := u.run(ctx); err != nil {
		u.fail(err, sessionlog.ConnectionFailed, oneLine(err))
		return err
	}
	return u.result(ctx)
}

func (u *User) run(ctx context.Context) error {
	inv, identity, password, err := u.invite()
	if err != nil {
		return err
	}
	if u.made != nil {
		u.made(inv)
	}
	guard, err := channel.NewGuard(inv, password)
	if err != nil {
		return err
	}
	attempted := u.attempted()
	var ls []*channel.Listener
	for _, e := range u.conf.Endpoints {
		l, err := channel.Listen(e.Conn, channel.ListenConfig{Guard: guard, Identity: identity, Logger: u.logger, OnAttempt: attempted})
		if err != nil {
			return err
		}
		defer l.Close()
		ls = append(ls, l)
	}
	u.do(func(now time.Time, out *session.Output) error {
		u.m.SetInvitation(u.shown(inv, password))
		u.m.Note(now, sessionlog.InvitationOpened, fmt.Sprintf("A Remote Assistance invitation has been opened, valid until %s.", inv.Expires.Local().Format("15:04:05")), out)
		return nil
	})
	u.whileScreen(ctx, func() { u.wait(ctx, ls) })
	u.do(func(now time.Time, out *session.Output) error {
		u.m.SetInvitation(nil)
		u.m.Note(now, sessionlog.InvitationClosed, "The Remote Assistance invitation has been closed.", out)
		return nil
	})
	return nil
}

// wait is Waiting For Connect, and the session after it. The listeners stay
// open meanwhile: they tell a second Helper that the User is busy.
func (u *User) wait(ctx context.Context, ls []*channel.Listener) {
	acceptCtx, cancel := u.untilEnded(ctx)
	defer cancel()
	conn, err := accept(acceptCtx, ls)
	switch {
	case err == nil:
	case errors.Is(err, channel.ErrExpired):
		u.fail(err, sessionlog.InvitationExpired, "the invitation has expired")
		return
	case errors.Is(err, channel.ErrBurned):
		u.fail(err, sessionlog.TooManyWrongPasswords, "too many wrong passwords: the invitation is closed")
		return
	case acceptCtx.Err() != nil:
		u.Stop() // ctx ended; no news if the session has
		return
	default:
		u.fail(err, sessionlog.ConnectionFailed, oneLine(err))
		return
	}
	kind, control, err := acceptControl(acceptCtx, conn)
	if err == nil && kind != channel.KindControl {
		err = ErrProtocol
	}
	if err != nil {
		conn.Close(uint64(session.ByeProtocol), "")
		if acceptCtx.Err() != nil {
			u.Stop()
		} else {
			u.fail(err, sessionlog.ConnectionFailed, "the Helper connected, but began no session")
		}
		return
	}
	err = u.do(func(now time.Time, out *session.Output) error {
		u.m.SetInvitation(nil) // it is used: no face needs the password any more
		return u.m.Connected(now, conn.RemoteAddr(), out)
	})
	if err != nil {
		conn.Close(uint64(session.ByeStop), "") // stopped in this moment
		return
	}
	u.converse(ctx, conn, control, func(ctx context.Context) { u.share(ctx, conn) })
}

// accept waits at all listeners, which have one guard: at one of them there is
// the session, and the others hear that it is taken.
func accept(ctx context.Context, ls []*channel.Listener) (*channel.Conn, error) {
	type result struct {
		conn *channel.Conn
		err  error
	}
	results := make(chan result, len(ls))
	for _, l := range ls {
		go func() {
			c, err := l.Accept(ctx)
			results <- result{c, err}
		}()
	}
	var got result
	for range ls {
		if r := <-results; got.conn == nil {
			got = r
		}
	}
	return got.conn, got.err
}

func acceptControl(ctx context.Context, conn *channel.Conn) (byte, channel.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	return conn.AcceptStream(ctx)
}

// untilEnded returns a context that also ends with the session.
func (c *core) untilEnded(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-c.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// invite makes the invitation and writes its file.
func (u *User) invite() (*invite.Invitation, channel.Identity, string, error) {
	fail := func(err error) (*invite.Invitation, channel.Identity, string, error) {
		return nil, channel.Identity{}, "", err
	}
	if err := mayReplace(u.conf.File); err != nil {
		return fail(err)
	}
	inv, err := invite.New(u.conf.Name, u.conf.Life, time.Now())
	if err != nil {
		return fail(err)
	}
	identity, hash := channel.NewIdentity()
	inv.CertHash = hash
	for _, e := range u.conf.Endpoints {
		inv.Candidates = append(inv.Candidates, invite.Candidate{Kind: e.Kind, Addr: e.Addr})
	}
	password := invite.NewPassword()
	file, err := u.conf.seal(inv, password)
	if err != nil {
		return fail(err)
	}
	if err := invite.Write(u.conf.File, file); err != nil {
		return fail(err)
	}
	return inv, identity, password, nil
}

// mayReplace keeps a person's other file from being lost to a slip.
func mayReplace(name string) error {
	b, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	if _, err := invite.Parse(b); err != nil {
		return fmt.Errorf("%s: %w", name, ErrInUse)
	}
	return nil
}

func (u *User) shown(inv *invite.Invitation, password string) *face.Invitation {
	file, err := filepath.Abs(u.conf.File)
	if err != nil {
		file = u.conf.File
	}
	return &face.Invitation{File: file, Password: password, Expires: inv.Expires, Candidates: shownCandidates(inv)}
}

func shownCandidates(inv *invite.Invitation) []face.Candidate {
	var list []face.Candidate
	for _, c := range inv.Candidates {
		list = append(list, face.Candidate{Kind: c.Kind, Address: c.Addr.String()})
	}
	return list
}

// maxNoted bounds what strangers who hold the file can write into the log.
const maxNoted = 20

// attempted logs Helpers who were not let in.
func (u *User) attempted() func(channel.Attempt) {
	noted := 0
	return func(a channel.Attempt) {
		var event, text string
		switch a.Outcome {
		case channel.WrongPassword:
			event, text = sessionlog.WrongPassword, fmt.Sprintf("A wrong password was used from %v (%d).", a.Remote, a.Wrong)
		case channel.AlreadyTaken:
			event, text = sessionlog.SecondConnectionDenied, fmt.Sprintf("A second Helper at %v was turned away.", a.Remote)
		default:
			return
		}
		u.do(func(now time.Time, out *session.Output) error {
			if noted++; noted <= maxNoted && u.m.State() != session.Ended {
				u.m.Note(now, event, text, out)
			}
			return nil
		})
	}
}
