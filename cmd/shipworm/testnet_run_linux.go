package main

import (
	"context"
	"io"

	"shipworm/testnet/lab"
	"shipworm/testnet/scenario"
)

// performScenario runs a scenario in the laboratory. The file has been read
// before: a bad one makes no namespace. The process inside reads it again.
func performScenario(ctx context.Context, s *scenario.Scenario, opts scenario.Options, o *runOptions, out io.Writer) error {
	inside, code, err := lab.Enter()
	switch {
	case err != nil:
		return laboratoryError("testnet run", err)
	case inside:
		r, err := scenario.Perform(ctx, s, opts)
		return o.finish(ctx, r, err, opts.Recorder, out)
	case code != 0:
		return &exitError{code: code} // the process inside has said why
	}
	return nil
}
