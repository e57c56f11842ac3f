package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"

	"shipworm/teredo"
)

// silentSocket sends nowhere and receives nothing.
type silentSocket struct {
	net.PacketConn
	closed context.Context
	close  context.CancelFunc
}

func newSilentSocket(context.Context, netip.AddrPort) (net.PacketConn, error) {
	ctx, cancel := context.WithCancel(context.Background())
	return &silentSocket{closed: ctx, close: cancel}, nil
}

func (s *silentSocket) ReadFrom([]byte) (int, net.Addr, error) {
	<-s.closed.Done()
	return 0, nil, net.ErrClosed
}
func (s *silentSocket) WriteTo(b []byte, _ net.Addr) (int, error) { return len(b), nil }
func (s *silentSocket) Close() error                              { s.close(); return nil }
func (s *silentSocket) LocalAddr() net.Addr                       { return &net.UDPAddr{IP: net.IPv4zero, Port: 51999} }

// startLive runs a client that hears of nobody, and answers at its sockets.
func startLive(t *testing.T, set clientOptions) (l *liveClient, ended context.Context) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("file modes mean little on Windows")
	}
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	t.Setenv("RUNTIME_DIRECTORY", "")
	c, err := teredo.NewClient(teredo.ClientConfig{
		Server: "203.0.113.1", Listen: newSilentSocket,
		Resolve: func(context.Context, string) ([]netip.Addr, error) { return nil, fmt.Errorf("no such host") },
	})
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancelCause(t.Context())
	l = &liveClient{client: c, end: end, set: set}
	run := make(chan error, 1)
	go func() { run <- c.Run(ended) }()
	ctl, err := openControl()
	if err != nil {
		t.Fatal(err)
	}
	ctl.serve(l)
	t.Cleanup(func() { ctl.close(); end(nil); <-run })
	for c.State().Solicitations == 0 {
		runtime.Gosched()
	}
	return l, ended
}

// A running client takes what is set at once, and what it cannot take is said,
// with what to do about it; the file has it either way. T-32
func TestSetLive(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	system := systemFile(dir + "/system.toml")
	live, ended := startLive(t, clientOptions{typ: typeClient})
	var log bytes.Buffer
	for _, line := range []string{
		"teredo set --server 203.0.113.9 --refresh 20",
		"netsh interface teredo set state type=enterpriseclient servername=203.0.113.7. refreshinterval=default",
		"netsh int teredo set state client 203.0.113.7 10 34567",
		"teredo set --server nowhere.example --refresh 15",
		"teredo set --server 10.0.0.1",
		"teredo set --server default",
		"teredo set --refresh 4",
		"teredo set --type disabled",
	} {
		fmt.Fprintln(&log, "$ shipworm", line)
		root := newRoot(system)
		root.SetArgs(strings.Fields(line))
		root.SetOut(&log)
		root.SetErr(&log)
		if err := root.ExecuteContext(t.Context()); err != nil {
			fmt.Fprintln(&log, "shipworm:", err)
		}
		if ended.Err() != nil {
			break
		}
		raw, err := live.shown()
		if err != nil {
			t.Fatal(err)
		}
		st := parseShown(t, raw)
		fmt.Fprintf(&log, "(type %s, server %s, refresh %v)\n\n", typeWord(st.Type), st.ServerName, st.Refresh)
	}
	<-ended.Done()
	fmt.Fprintf(&log, "(ended: %v, exit code %d)\n", context.Cause(ended), exitCode(t.Context(), context.Cause(ended)))
	golden(t, "teredo_set.golden", []byte(strings.ReplaceAll(log.String(), fmt.Sprint("process ", os.Getpid()), "process 4711")))
	b, err := os.ReadFile(system.clientFiles()[0].path)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "teredo_set.toml.golden", b)
}

// A change that is none is refused, and changes nothing. T-32
func TestChangeHostile(t *testing.T) {
	live, _ := startLive(t, clientOptions{typ: typeClient})
	before := live.client.Settings()
	for _, bad := range []map[string]string{
		{"refresh": "1"}, {"type": "server"}, {"port": "x"}, {"server": "a b"}, {"open": "tcp/22"}, {"server": "2001:db8::1"}, {"server": "10.0.0.1"},
		{"refresh": "20", "server": "203.0.113.9", "zone": ""},
	} {
		if r, end := live.change(bad); r.Error == "" || end != nil {
			t.Errorf("%v: %+v, %v", bad, r, end)
		}
	}
	if after := live.client.Settings(); after != before {
		t.Errorf("settings %+v, were %+v", after, before)
	}
}

// In an office only the client that is meant for it goes on.
func TestChangeManaged(t *testing.T) {
	live, ended := startLive(t, clientOptions{typ: typeEnterprise, managed: true})
	if r, err := sendControl(t.Context(), map[string]string{"type": "client"}); err != nil || r.Ends == "" {
		t.Fatalf("%+v, %v", r, err)
	}
	<-ended.Done()
	if err := context.Cause(ended); exitCode(t.Context(), err) != exitNegative {
		t.Errorf("ended by %v", err)
	}
	<-live.client.Done()
}

// What to restart depends on who started it: a service has the directory that
// its unit gives it.
func TestChangeOfService(t *testing.T) {
	live, _ := startLive(t, clientOptions{typ: typeClient})
	for dir, want := range map[string]string{
		"":              fmt.Sprintf("it takes a restart: port; end process %d and start it again\n", os.Getpid()),
		"/run/shipworm": "it takes a restart: port; systemctl restart shipworm-teredo-client\n",
	} {
		t.Setenv("RUNTIME_DIRECTORY", dir)
		r, _ := live.change(map[string]string{"port": "50001"})
		var said strings.Builder
		r.tell(&said)
		if said.String() != want {
			t.Errorf("%q: it said %q, want %q", dir, &said, want)
		}
	}
}
