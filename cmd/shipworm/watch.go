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

// undo gives back what a command, whose flags were read, held when it died.
type undo func(ctx context.Context, c *cobra.Command) error

func undoers() map[string]undo {
	return map[string]undo{
		holdsMappings: func(ctx context.Context, _ *cobra.Command) error {
			m, err := (&upnpFlags{network: "private"}).mapper()
			if err == nil {
				_, err = m.Sweep(ctx)
			}
			return err
		},
		holdsInput: func(_ context.Context, c *cobra.Command) error {
			display, err := c.Flags().GetString("display")
			if err == nil {
				err = input.ReleaseStuck(display)
			}
			return err
		},
	}
}

// undoAll undoes what c's annotation names, all at once.
func (p *program) undoAll(c *cobra.Command) error {
	ctx, cancel := context.WithTimeout(context.Background(), undoTime)
	defer cancel()
	names := strings.Fields(c.Annotations[watchKey])
	done := make(chan error, len(names))
	for _, name := range names {
		go func() { done <- p.undo[name](ctx, c) }()
	}
	var errs []error
	for range names {
		select {
		case err := <-done:
			errs = append(errs, err)
		case <-ctx.Done(): // a display that does not answer
			return errors.Join(append(errs, ctx.Err())...)
		}
	}
	return errors.Join(errs...)
}
