package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"os/user"
	"regexp"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"shipworm/internal/clean"
	"shipworm/ra/channel"
	"shipworm/ra/face"
	"shipworm/ra/invite"
	"shipworm/ra/web"
)

// newRACmd is the group of Remote Assistance.
func newRACmd(system systemFile) *cobra.Command {
	c := group("ra", "Remote Assistance: invite a helper, help a user",
		newRAInviteCmd(system), newRAOpenCmd(system), newRAInspectCmd())
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return flagError(err) })
	c.PersistentPreRunE = func(*cobra.Command, []string) error { return keepMemoryPrivate() }
	return c
}

const passwordHint = "a password on the command line can be read by everybody on this machine: use the prompt, --password-file or --password-fd"

// secretFlag matches flags by which people try to give a password, as msra
// takes it; a shorthand has the secret behind it, which must not be repeated.
var (
	secretFlag    = regexp.MustCompile(`(?i)^unknown flag: --?(pass|pw|secret)`)
	shorthandFlag = regexp.MustCompile(`^(unknown shorthand flag: '.') in .*`)
)

func flagError(err error) error {
	if m := shorthandFlag.FindStringSubmatch(err.Error()); m != nil {
		err = errors.New(m[1])
		return withHint(usageError(err), passwordHint)
	}
	if secretFlag.MatchString(err.Error()) {
		return withHint(usageError(err), passwordHint)
	}
	return usageError(err)
}

// oneFile is exactArgs(1) that knows a password where it does not belong. It
// never repeats an argument.
func oneFile(c *cobra.Command, args []string) error {
	for i, a := range args {
		_, err := invite.Normalize(a)
		if _, missing := os.Stat(a); err == nil && (i > 0 || missing != nil) {
			return withHint(usageError(fmt.Errorf("%s: an argument looks like a password", commandName(c))), passwordHint)
		}
	}
	if len(args) != 1 {
		return withHint(usageError(fmt.Errorf("%s: got %d arguments, want the invitation file", commandName(c), len(args))), passwordHint)
	}
	return nil
}

// raFlags are the flags of both sides of a session.
type raFlags struct {
	system  systemFile
	name    string
	logDir  string
	noWeb   bool
	browser bool
	verbose bool
}

func (f *raFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.name, "name", "", "what the other side calls you (default: your account's name)")
	c.Flags().StringVar(&f.logDir, "log-dir", "", `folder of the session log (default: "Remote Assistance Logs" in your documents)`)
	c.Flags().BoolVar(&f.noWeb, "no-web", false, "serve no web page: use the terminal alone")
	c.Flags().BoolVar(&f.browser, "browser", false, "open the web page in your browser")
	c.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "say on stderr what happens underneath")
}

func (f *raFlags) logger() *slog.Logger {
	level := slog.LevelError
	if f.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

// ownName is --name, or the account's full name, or its login name.
func (f *raFlags) ownName() string {
	if f.name != "" {
		return clean.Line(f.name, clean.MaxName)
	}
	u, err := user.Current()
	if err != nil {
		return ""
	}
	if name, _, _ := strings.Cut(u.Name, ","); name != "" {
		return clean.Line(name, clean.MaxName)
	}
	return clean.Line(u.Username, clean.MaxName)
}

// runner is a side of a session: *ra.User or *ra.Helper.
type runner interface {
	face.Session
	Run(ctx context.Context) error
}

// runSession runs s with its faces: the terminal, and the web page unless it
// is unwanted. The faces outlive the session by as long as it takes to show
// its end.
func runSession(ctx context.Context, c *cobra.Command, s runner, f *raFlags, show func(face.View, io.Writer)) error {
	log := f.logger()
	// A reader of stdout who leaves (| head) must not kill the session: its
	// log would stay open and keys held down.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)
	faces, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	t := &terminal{session: s, out: c.OutOrStdout(), show: show}
	if !f.noWeb {
		srv, err := web.New(web.Config{Session: s, Logger: log})
		if err != nil {
			return err
		}
		wg.Go(func() {
			if err := srv.Run(faces); err != nil {
				log.Error("web page", "err", err)
			}
		})
		t.url = srv.URL
		fmt.Fprintf(c.ErrOrStderr(), "open in your browser: %s\n", srv.URL())
		if f.browser {
			forget, err := openBrowser(srv.URL())
			if err != nil {
				fmt.Fprintf(c.ErrOrStderr(), "cannot open a browser: %v\n", err)
			}
			defer forget()
		}
	}
	t.update(s.View()) // what is dialled is shown before it is
	wg.Go(func() { t.print(faces) })
	go t.read(faces, c.InOrStdin()) // blocks in a read that nothing can end but the process
	return sessionError(s.Run(ctx))
}

// sessionError gives a session's end its exit code and, where there is
// something to do about it, a hint.
func sessionError(err error) error {
	switch {
	case errors.Is(err, channel.ErrPassword):
		return withHint(err, "ask the user to read the password again, or to make a new invitation")
	case errors.Is(err, channel.ErrBusy):
		return err // there was an answer, if not at every address
	case errors.Is(err, channel.ErrUnreachable):
		return withHint(negativeError(err), "the user's program must still be running; a NAT or a firewall may block UDP")
	}
	return err
}
