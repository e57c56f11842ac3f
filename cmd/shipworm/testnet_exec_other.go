//go:build !linux

package main

import (
	"context"
	"errors"
	"runtime"
)

func runTestnetExec(context.Context, *execOptions) error { return errNoLaboratory("testnet exec") }

func errNoLaboratory(command string) error {
	return withHint(errors.New(command+": there are no network namespaces on "+runtime.GOOS),
		"run it on Linux, in a virtual machine or in WSL 2")
}
