//go:build !lab || !linux

package natprobe

func enterLab() (inside bool, code int) { return true, 0 }
