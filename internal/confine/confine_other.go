//go:build !linux

package confine

import "errors"

// Process fails: see the package's comment.
func Process(Config) (landlocked bool, err error) { return false, errors.ErrUnsupported }

// MayAdminNet has no answer where there are no capabilities.
func MayAdminNet() bool { return true }

// DropCapabilities does nothing: only Linux has them.
func DropCapabilities(string) error { return nil }
