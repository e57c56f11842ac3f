//go:build !linux

package confine

import "errors"

// Process fails: see the package's comment.
func Process(Config) (landlocked bool, err error) { return false, errors.ErrUnsupported }

// DropCapabilities does nothing: only Linux has them.
func DropCapabilities(string) error { return nil }
