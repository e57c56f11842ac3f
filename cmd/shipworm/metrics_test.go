package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"shipworm/teredo"
	"shipworm/teredo/engine"
)

// Prometheus's text format, to the byte. T-36
func TestMetricsText(t *testing.T) {
	var m metrics
	st := shownStates()["qualified"]
	st.Sent, st.Received, st.HostDrops = 12, 34, map[string]uint64{"unsolicited": 5}
	clientMetrics(&m, *st)
	// The reasons for drops grow with the protocol; one of them will do.
	var text strings.Builder
	for line := range strings.Lines(m.b.String()) {
		if !strings.HasPrefix(line, "shipworm_teredo_drops_total{") || strings.Contains(line, `"loop"`) {
			text.WriteString(line)
		}
	}
	golden(t, "teredo_metrics.golden", []byte(text.String()))
	m = metrics{}
	serverMetrics(&m, teredo.ServerState{ServerState: engine.ServerState{Drops: engine.Drops{engine.DropServerLoop: 7}}, Sockets: []teredo.SocketStats{{WriteDrops: 3}, {WriteDrops: 4}}})
	if !strings.Contains(m.b.String(), `shipworm_teredo_drops_total{reason="own address"} 7`+"\n") {
		t.Error(m.b.String())
	}
	if !strings.Contains(m.b.String(), "\nshipworm_teredo_socket_write_drops_total 7\n") {
		t.Error(m.b.String())
	}
	m = metrics{}
	relayMetrics(&m, teredo.RelayState{RelayState: engine.RelayState{Sent: 5, Received: 6, PeersTrusted: 2, Drops: engine.Drops{engine.DropLoop: 9}}})
	for _, want := range []string{`packets_total{direction="out"} 5`, `packets_total{direction="in"} 6`, `peers{kind="trusted"} 2`, `drops_total{reason="loop"} 9`} {
		if !strings.Contains(m.b.String(), "\nshipworm_teredo_"+want+"\n") {
			t.Errorf("a relay: no %s in\n%s", want, m.b.String())
		}
	}
	m = metrics{}
	m.gauge("x", "h", 1, "l", "a\"b\\c\nd")
	if want := "# HELP x h\n# TYPE x gauge\nx{l=\"a\\\"b\\\\c\\nd\"} 1\n"; m.b.String() != want {
		t.Errorf("got %q, want %q", m.b.String(), want)
	}
}

// The page is there while the client runs, on loopback or a socket only, and
// nothing of the process's insides is. C-10
func TestMetricsServer(t *testing.T) {
	for _, bad := range []string{"0.0.0.0:9640", "9640", "192.0.2.1:1", "localhost:1", "[::]:1"} {
		if _, err := openMetrics(bad); exitCode(t.Context(), err) != exitUsage {
			t.Errorf("%s: %v", bad, err)
		}
	}
	socket := filepath.Join(t.TempDir(), "m")
	s, err := openMetrics("unix:" + socket)
	if err != nil {
		t.Fatal(err)
	}
	s.serve(func(m *metrics) { m.counter("n", "h", 5) })
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	for path, want := range map[string]int{"/metrics": 200, "/": 404, "/debug/pprof/": 404, "/debug/vars": 404} {
		r, err := client.Get("http://x" + path)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if r.StatusCode != want || want == 200 && !strings.HasSuffix(string(b), "\nn 5\n") {
			t.Errorf("%s: %d %s", path, r.StatusCode, b)
		}
	}
	s.close()
	if _, err := client.Get("http://x/metrics"); err == nil {
		t.Error("it answers after the end")
	}
	none, err := openMetrics("")
	if err != nil {
		t.Fatal(err)
	}
	none.serve(nil)
	none.close()
}
