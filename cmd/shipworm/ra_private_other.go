//go:build !linux

package main

// keepMemoryPrivate does nothing here: what the system offers is not used yet.
func keepMemoryPrivate() error { return nil }
