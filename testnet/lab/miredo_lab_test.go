//go:build lab && linux

package lab_test

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"shipworm/testnet/lab"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

// L-08: Miredo, an implementation with TUN devices, child processes and users
// of its own, works in the laboratory as it does on machines: two of its
// clients behind port-restricted NATs reach each other.
func TestMiredo(t *testing.T) {
	for _, name := range []string{"miredo", "miredo-server"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip("needs Miredo: ", err)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("Miredo needs root")
	}
	l, err := lab.New(lab.Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	l.CloseAfter(t)
	line := link.Config{Delay: 5 * time.Millisecond}
	server, err := l.Host("server", line, server1, server2)
	if err != nil {
		t.Fatal(err)
	}
	startMiredo(t, server, "miredo-server", "ServerBindAddress "+server1.String()+"\nServerBindAddress2 "+server2.String()+"\n")
	var clients []*lab.Host
	for i, outside := range []string{"198.51.100.10", "198.51.100.20"} {
		cfg, _ := nat.Profile("port-restricted")
		cfg.External = []netip.Addr{netip.MustParseAddr(outside)}
		router, err := l.Router(fmt.Sprint("router", i), cfg, line)
		if err != nil {
			t.Fatal(err)
		}
		host, err := router.Host(fmt.Sprint("client", i), link.Config{}, inside)
		if err != nil {
			t.Fatal(err)
		}
		startMiredo(t, host, "miredo", fmt.Sprintf("RelayType client\nInterfaceName teredo\nServerAddress %s\nBindPort %d\n", server1, 3610+i))
		clients = append(clients, host)
	}
	address := waitTeredo(t, clients[1])
	waitTeredo(t, clients[0])
	out := output(t, clients[0], "ping", "-n", "-c", "3", "-i", "0.2", "-w", "60", address)
	t.Log(out)
}

func startMiredo(t *testing.T, h *lab.Host, program, config string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	user := program
	cmd := h.Command(t.Context(), program, "-f", "-c", file, "-p", filepath.Join(dir, "pid"), "-u", user)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s on %s:\n%s", program, h.Name(), &log)
		}
	})
}

// waitTeredo waits until the host's Teredo interface has its address.
func waitTeredo(t *testing.T, h *lab.Host) string {
	t.Helper()
	address := regexp.MustCompile(`inet6 (2001:0:[0-9a-f:]+)/`)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		out, _ := h.Command(ctx, "ip", "-6", "address", "show", "dev", "teredo").CombinedOutput()
		if m := address.FindSubmatch(out); m != nil {
			return string(m[1])
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: no Teredo address: %s", h.Name(), out)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
