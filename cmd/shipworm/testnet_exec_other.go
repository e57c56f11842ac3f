//go:build !linux

package main

import (
	"context"
	"errors"
	"runtime"
)

func runTestnetExec(context.Context, *execOptions) error {
	return withHint(errors.New("testnet exec: there are no network namespaces on "+runtime.GOOS),
		"run it on Linux, in a virtual machine or in WSL 2")
}
