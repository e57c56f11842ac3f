//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "speed: this needs Linux: network namespaces, veth and TUN devices")
	os.Exit(1)
}
