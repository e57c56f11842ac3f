package main

import (
	"fmt"
	"os"

	"shipworm/testnet/lab"
	"shipworm/testnet/sim"
	"shipworm/testnet/trace"
)

// listen has the events of a laboratory go where --trace and --verbose want
// them. rec may be nil.
func listen(l *lab.Lab, rec *trace.Recorder, verbose bool) error {
	if rec == nil {
		if verbose {
			l.SetTrace(dropPrinter(os.Stderr))
		}
		return nil
	}
	return l.Change(func(w *sim.World) error {
		rec.Attach(w)
		if verbose {
			drops := dropPrinter(os.Stderr)
			w.SetTrace(func(e sim.Event) {
				rec.OnEvent(e)
				drops(e)
			})
		}
		return nil
	})
}

// saveTrace ends a run: of one that failed the packets are wanted most. The
// program's exit code goes first; a trace that is lost is a failure of a run
// that had none.
func saveTrace(command string, rec *trace.Recorder, dir string, code int, err error) (int, error) {
	if rec == nil {
		return code, err
	}
	rec.Stop()
	if n := rec.Lost().Packets; n > 0 {
		fmt.Fprintf(os.Stderr, "%s: --trace: no room for the last %d packets\n", command, n)
	}
	saved := rec.Save(dir)
	switch {
	case saved == nil || err != nil:
		return code, err
	case code == 0:
		code = exitFailure
	}
	return code, &exitError{code: code, err: fmt.Errorf("%s: --trace: %w", command, saved)}
}
