// Command shipworm is Remote Assistance over Teredo, and the tools around it.
// The subcommands only parse flags, join packages and print.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker; "devel" where nobody did.
var version = "devel"

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	nameProcess()
	p := program{newRoot(systemConfig), undoers()}
	return p.run(args)
}

// program is the tree of commands, and what has to be done where one of them
// crashed.
type program struct {
	root *cobra.Command
	undo map[string]undo
}

// run executes one command line and returns the exit code. The first SIGINT,
// SIGTERM or, from a terminal that is closed, SIGHUP cancels the command's
// context; a second SIGINT or SIGTERM ends the process. A second SIGHUP does
// not: the kernel sends one, and the shell another.
func (p *program) run(args []string) (code int) {
	if code, ok := p.watch(args); ok {
		return code
	}
	defer func() {
		if v := recover(); v != nil {
			fmt.Fprintf(os.Stderr, "panic: %v\n\n%s", v, debug.Stack())
			code = exitCrashed
		}
	}()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		var forget context.CancelFunc
		ctx, forget = signal.NotifyContext(ctx, syscall.SIGHUP)
		defer forget()
	}
	ctx, watched, leave := obeyWatcher(ctx)
	defer leave()
	if !watched { // who is, may get the signal as well as the watcher's word of it
		context.AfterFunc(ctx, stop)
	}
	p.root.SetArgs(args)
	err := p.root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	code = exitCode(ctx, err)
	if code != exitInterrupted && !isSilent(err) {
		fmt.Fprintln(os.Stderr, "shipworm: "+err.Error())
		if h := hintOf(err); h != "" {
			fmt.Fprintln(os.Stderr, "hint: "+h)
		}
	}
	return code
}

// newRoot makes the tree of commands, for a host with that configuration.
func newRoot(system systemFile) *cobra.Command {
	root := group("shipworm", "Remote Assistance over Teredo, with the tools around it",
		newRACmd(system), newTeredoCmd(system), newProbeCmd(system), newUPnPCmd(), newTestnetCmd(), newNetshCmd(system))
	root.Version = version
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetVersionTemplate("shipworm {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError(plainFlagError(err)) })
	root.CompletionOptions.HiddenDefaultCmd = true
	return root
}

// numberError is how a number that is none is reported by who parses it.
var numberError = regexp.MustCompile(`strconv\.Parse(\w+): parsing ("-\d)?.*: (invalid syntax|value out of range)$`)

// plainFlagError leaves out of a flag's error the function that found it.
func plainFlagError(err error) error {
	m := numberError.FindStringSubmatchIndex(err.Error())
	if m == nil {
		return err
	}
	text := err.Error()
	why := "not a number"
	switch {
	case text[m[2]:m[3]] == "Bool":
		why = "not true or false"
	case m[4] >= 0, text[m[6]:m[7]] != "invalid syntax":
		why = "too large or too small"
	}
	return errors.New(text[:m[0]] + why)
}

// group returns a command that only holds others: alone it prints its help,
// with an unknown word it is a usage error.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs}
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usageError(fmt.Errorf("no such command: %q", strings.TrimSpace(commandName(c)+" "+args[0])))
		}
		return c.Help()
	}
	c.AddCommand(subs...)
	return c
}

// commandName is a command's path without the program's own name, which
// every error line begins with anyway.
func commandName(c *cobra.Command) string {
	return strings.TrimSpace(strings.TrimPrefix(c.CommandPath(), "shipworm"))
}

// exactArgs is cobra.ExactArgs as a usage error.
func exactArgs(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			s := "s"
			if len(args) == 1 {
				s = ""
			}
			return usageError(fmt.Errorf("%s: got %d argument%s, want %d: %s", commandName(c), len(args), s, n, c.UseLine()))
		}
		return nil
	}
}

func exitCode(ctx context.Context, err error) int {
	var e *exitError
	switch {
	case errors.As(err, &e):
		return e.code
	case ctx.Err() != nil:
		return exitInterrupted
	case errors.Is(err, os.ErrPermission):
		return exitPermission
	default:
		return exitFailure
	}
}
