package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Ready is true once something on the host waits at a port of network "tcp" or
// "udp" (IPv4 or IPv6). Port 0 means any port. Another network is an error,
// since nothing could ever be ready at it.
func (h *Host) Ready(network string, port uint16) (bool, error) {
	if network != "tcp" && network != "udp" {
		return false, fmt.Errorf("lab: host %s: network %q: want tcp or udp", h.name, network)
	}
	ready := false
	err := h.Do(func() error {
		for _, file := range []string{network, network + "6"} {
			ok, err := bound("/proc/thread-self/net/"+file, network == "tcp", port)
			// A kernel without IPv6 has no such file.
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("lab: host %s: %w", h.name, err)
			}
			ready = ready || ok
		}
		return nil
	})
	return ready, err
}

// WaitReady blocks until Ready, and returns Ready's error, or the context's if
// that comes first. It asks every 5 ms, since the kernel announces nothing.
func (h *Host) WaitReady(ctx context.Context, network string, port uint16) error {
	for {
		ok, err := h.Ready(network, port)
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("lab: host %s: nothing at %s port %d: %w", h.name, network, port, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// bound reads a table such as /proc/net/tcp: one socket a line, the second
// field its local address and port, the fourth its state, all hexadecimal.
func bound(table string, tcp bool, port uint16) (bool, error) {
	const listening = "0A" // TCP_LISTEN; every UDP socket in the table is bound
	f, err := os.Open(table)
	if err != nil {
		return false, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Scan() // headings
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || tcp && fields[3] != listening {
			continue
		}
		_, hex, _ := strings.Cut(fields[1], ":")
		if p, err := strconv.ParseUint(hex, 16, 16); err == nil && (port == 0 || uint16(p) == port) {
			return true, nil
		}
	}
	return false, lines.Err()
}
