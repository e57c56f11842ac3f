//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"shipworm/testnet/lab"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

// Addresses of the stage: documentation ranges play the Internet.
var (
	serverAddr  = netip.MustParseAddr("203.0.113.1")
	serverAddr2 = netip.MustParseAddr("203.0.113.2")
	outsideA    = netip.MustParseAddr("198.51.100.10")
	outsideB    = netip.MustParseAddr("198.51.100.20")
	insideA     = netip.MustParseAddr("192.168.1.2")
	insideB     = netip.MustParseAddr("192.168.2.2")
)

const displaySize = "1024x768x24"

// A stage is what stands before the play begins: two homes, a server that
// runs, and a desktop with a terminal on it.
type stage struct {
	cfg          config
	lab          *lab.Lab
	server       *lab.Host
	user, helper *lab.Host
	display      string // X display of the User's desktop
	typed        string // file that the desktop's shell will write
}

func buildStage(ctx context.Context, c config) (*stage, error) {
	for _, dir := range []string{c.out, filepath.Join(c.out, "user"), filepath.Join(c.out, "helper")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	l, err := lab.New(lab.Config{Seed: 1})
	if err != nil {
		return nil, err
	}
	s := &stage{cfg: c, lab: l, typed: filepath.Join(c.out, "typed-on-the-desktop.txt")}
	os.Remove(s.typed)
	line := link.Config{Delay: c.delay}
	s.server, err = l.Host("server", link.Config{}, serverAddr, serverAddr2)
	if err == nil {
		s.user, err = s.home("user", c.natA, outsideA, insideA, line)
	}
	if err == nil {
		s.helper, err = s.home("helper", c.natB, outsideB, insideB, line)
	}
	if err == nil {
		err = s.startServer(ctx)
	}
	if err == nil {
		err = s.startDesktop(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return s, nil
}

// home puts one host behind one NAT.
func (s *stage) home(name, kind string, outside, inside netip.Addr, line link.Config) (*lab.Host, error) {
	cfg, _ := nat.Profile(kind)
	cfg.External = []netip.Addr{outside}
	router, err := s.lab.Router(name+"-router", cfg, line)
	if err != nil {
		return nil, err
	}
	return router.Host(name, link.Config{}, inside)
}

func (s *stage) startServer(ctx context.Context) error {
	p, err := start(ctx, s.server, filepath.Join(s.cfg.out, "server.txt"), s.cfg.shipworm,
		"teredo", "server", "--listen", serverAddr.String(), "--listen", serverAddr2.String())
	if err != nil {
		return err
	}
	_, err = p.expect(`listening|serving`, 5*time.Second)
	return err
}

// startDesktop starts an X server and a terminal program on it.
func (s *stage) startDesktop(ctx context.Context) error {
	// A number of our own: the X server's search for a free one looks at
	// process ids, which another laboratory on this machine does not share.
	number := fmt.Sprintf(":%d", 100+rand.IntN(50000))
	x, err := start(ctx, s.user, filepath.Join(s.cfg.out, "xvfb.txt"), "Xvfb",
		number, "-displayfd", "1", "-screen", "0", displaySize, "-nolisten", "tcp", "-noreset")
	if err != nil {
		return err
	}
	if _, err := x.expect(`^\d+$`, 10*time.Second); err != nil {
		return err
	}
	s.display = number
	blank, err := grabDisplay(ctx, s.display)
	if err != nil {
		return err
	}
	// The shell shows the file that it is told to write, so that what the
	// Helper types is seen on the display and found on the disk.
	if _, err := start(ctx, s.user, filepath.Join(s.cfg.out, "xterm.txt"), "xterm", "-display", s.display,
		"-geometry", "120x45+20+20", "-e", "sh"); err != nil {
		return err
	}
	for range 500 {
		now, err := grabDisplay(ctx, s.display)
		if err != nil {
			return err
		}
		if differing(blank, now) > 1000 {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("the terminal program never appeared on display %s", s.display)
}

// browserWrapper writes the program that starts Chromium on the Helper's host.
func (s *stage) browserWrapper() (string, error) {
	path := filepath.Join(s.cfg.out, "helper", "chromium")
	script := fmt.Sprintf("#!/bin/sh\nexec nsenter --net=%s chromium \"$@\"\n", s.helper.Netns())
	return path, os.WriteFile(path, []byte(script), 0o700)
}
