//go:build !lab || !linux

package tun

func enterLab() (inside bool, code int) { return true, 0 }
