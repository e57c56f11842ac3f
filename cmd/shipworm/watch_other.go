//go:build !unix

package main

import "context"

// Elsewhere nothing is inherited that could tell a crash from an end: what a
// process held is left to the leases, and to the next start.

func (p *program) watch([]string) (code int, ok bool) { return 0, false }

func nameProcess() {}

func obeyWatcher(ctx context.Context) (_ context.Context, watched bool, _ context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	return ctx, false, cancel
}
