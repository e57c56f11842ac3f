package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// systemFile is the path of the configuration file that holds for everybody,
// which only root may change. A type "disabled" in its [client] is the policy
// that there is to be no Teredo on this host, by whatever command and user
// (RFC 6169, 2.1.3). Tests have a file of their own.
type systemFile string

const systemConfig systemFile = "/etc/shipworm/teredo.toml"

// policyEvery is how often a process that runs looks at the policy.
const policyEvery = 5 * time.Second

// errTeredoDisabled: the policy forbids Teredo.
var errTeredoDisabled = errors.New("teredo: disabled on this host")

// forbids returns why there must be no Teredo on this host, or nil. A file that
// cannot be read or understood forbids it, too.
func (f systemFile) forbids() error {
	s, err := readConfig(string(f))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, fs.ErrPermission):
		return withHint(&exitError{code: exitPermission, err: err}, fmt.Sprintf("it may say that Teredo is disabled: everybody must be able to read %s", f))
	case err != nil:
		return err
	case s["client"]["type"] == typeDisabled:
		return withHint(negativeError(errTeredoDisabled), fmt.Sprintf(`type = "disabled" in %s; root lifts it: shipworm teredo set --type default`, f))
	}
	return nil
}

// guard returns a context that ends once the policy forbids Teredo, with that
// for its cause. A file that is just being written ends nothing.
func (f systemFile) guard(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		t := time.NewTicker(policyEvery)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				if err := f.forbids(); errors.Is(err, errTeredoDisabled) {
					cancel(err)
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}
