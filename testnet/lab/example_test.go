//go:build linux

package lab_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"shipworm/testnet/lab"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

// A program that shows curl its own mapped endpoint.
func Example() {
	inside, code, err := lab.Enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if err != nil || !inside {
		os.Exit(code)
	}
	l, err := lab.New(lab.Config{})
	if err != nil {
		panic(err)
	}
	defer l.Close()

	server, err := l.Host("server", link.Config{}, netip.MustParseAddr("203.0.113.1"))
	if err != nil {
		panic(err)
	}
	if err := server.Reflect(); err != nil {
		panic(err)
	}
	cfg, _ := nat.Profile("symmetric")
	cfg.External = []netip.Addr{netip.MustParseAddr("198.51.100.10")}
	router, err := l.Router("router", cfg, link.Config{Delay: 10 * time.Millisecond})
	if err != nil {
		panic(err)
	}
	home, err := router.Host("home", link.Config{}, netip.MustParseAddr("192.168.1.2"))
	if err != nil {
		panic(err)
	}
	cmd := home.Command(context.Background(), "curl", "http://server/")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		panic(err)
	}
}
