//go:build !linux

package main

import (
	"context"
	"errors"
	"io"
	"runtime"
)

func runTestnetExec(context.Context, *execOptions) error { return errNoLaboratory("testnet exec") }

func (p *programBisection) bisect(_ context.Context, command string, _, _ io.Writer) error {
	return errNoLaboratory(command)
}

func errNoLaboratory(command string) error {
	return withHint(errors.New(command+": there are no network namespaces on "+runtime.GOOS),
		"run it on Linux, in a virtual machine or in WSL 2")
}
