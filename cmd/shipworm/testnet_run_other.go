//go:build !linux

package main

import (
	"context"
	"errors"
	"io"
	"runtime"

	"shipworm/testnet/scenario"
)

func performScenario(context.Context, *scenario.Scenario, scenario.Options, *runOptions, io.Writer) error {
	return withHint(errors.New("testnet run: there are no network namespaces on "+runtime.GOOS),
		"run it without --lab, or on Linux, in a virtual machine or in WSL 2")
}
