//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "demo: this needs Linux: network namespaces, an X display, Chromium")
	os.Exit(1)
}
