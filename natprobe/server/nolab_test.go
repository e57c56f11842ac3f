//go:build !lab || !linux

package server

func enterLab() (inside bool, code int) { return true, 0 }
