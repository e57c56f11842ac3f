package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"shipworm/ra/input"
)

// A command that holds something outside of its process for as long as it runs,
// or that an operator leaves alone, is watched: the program runs it in a process
// of its own, which has all of the terminal and the files, and itself only waits
// for the end. A panic, of whatever goroutine, of a library as well, and a kill
// by anybody leave nobody in that process who could tidy up; the watching one
// then gives back what the command held, and says so with exit code 70
// (sysexits.h: EX_SOFTWARE). A watching process that is killed takes the other
// one along, in good order.

// watchKey is the annotation of such a command: the names of what is to be given
// back, with a space between them.
const watchKey = "watch"

// Names for watch.
const (
	holdsMappings = "mappings"
	holdsInput    = "input"
)

// undoTime bounds the giving back.
const undoTime = 3 * time.Second

func watched(c *cobra.Command, holds ...string) *cobra.Command {
	c.Annotations = map[string]string{watchKey: strings.Join(holds, " ")}
	return c
}

// undo prepares, in the process that watches and with all of its privileges, to
// give back what a command, whose flags were read, held when it died.
type undo func(c *cobra.Command) func(ctx context.Context) error

func undoers() map[string]undo {
	return map[string]undo{
		holdsMappings: func(c *cobra.Command) func(context.Context) error {
			tunnel := tunnelOf(c)
			dir, err := tunnel.journalDir()
			return func(ctx context.Context) error {
				if err != nil {
					return err
				}
				return sweepMappings(ctx, dir)
			}
		},
		holdsInput: func(c *cobra.Command) func(context.Context) error {
			return func(context.Context) error {
				display, err := c.Flags().GetString("display")
				if err == nil {
					err = input.ReleaseStuck(display)
				}
				return err
			}
		},
	}
}

// tunnelOf is what a command's flags say of a tunnel in the kernel.
func tunnelOf(c *cobra.Command) tunFlags {
	value := func(name string) string {
		if f := c.Flags().Lookup(name); f != nil {
			return f.Value.String()
		}
		return ""
	}
	return tunFlags{name: value("tun"), user: value("user")}
}

// becomesUser is whom a command becomes when it has opened what it needs, and
// whoever watches it as well; empty if both stay who they are.
func becomesUser(c *cobra.Command) string {
	if f := tunnelOf(c); f.changesUser() {
		return f.user
	}
	return ""
}

// prepareUndo prepares for what c's annotation names.
func (p *program) prepareUndo(c *cobra.Command) (prepared []func(context.Context) error) {
	for _, name := range strings.Fields(c.Annotations[watchKey]) {
		prepared = append(prepared, p.undo[name](c))
	}
	return prepared
}

// undoAll does what was prepared, all at once.
func undoAll(prepared []func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), undoTime)
	defer cancel()
	done := make(chan error, len(prepared))
	for _, f := range prepared {
		go func() { done <- f(ctx) }()
	}
	var errs []error
	for range prepared {
		select {
		case err := <-done:
			errs = append(errs, err)
		case <-ctx.Done(): // a display that does not answer
			return errors.Join(append(errs, ctx.Err())...)
		}
	}
	return errors.Join(errs...)
}
