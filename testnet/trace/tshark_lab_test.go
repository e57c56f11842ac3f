//go:build lab

package trace_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"shipworm/testnet/trace"
)

// Wireshark reads the file: comments, interface names, nanoseconds, addresses
// after translation, and journeys.
func TestTshark(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	r := record(t, 1, trace.Config{})
	dir := t.TempDir()
	if err := r.Save(dir); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tshark, "-r", filepath.Join(dir, trace.FilePcapng), "-T", "fields",
		"-e", "frame.time_epoch", "-e", "frame.interface_name", "-e", "frame.packet_id", "-e", "ip.src", "-e", "udp.srcport", "-e", "frame.comment",
		"-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-e", "ip.checksum.status", "-e", "udp.checksum.status")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	packets := r.Packets()
	if len(lines) != len(packets) {
		t.Fatalf("%d packets, want %d:\n%s", len(lines), len(packets), out)
	}
	for i, l := range lines {
		f := strings.Split(l, "\t")
		if len(f) != 8 || f[1] != packets[i].Line || f[5] != packets[i].Comment() || f[6] != "1" || f[7] != "1" {
			t.Errorf("packet %d: %q, want %q", i, f, packets[i].Comment())
		}
	}
	const want = "1767225601.005000000\thome of bob\t3\t203.0.113.1\t5000\thome of alice forwarded: mapping created; " +
		"home of bob dropped: filtered: the inside never sent to this address\t1\t1"
	if lines[8] != want {
		t.Errorf("%q\nwant %q", lines[8], want)
	}

	// The dropped packets can be found by their comment.
	out, err = exec.Command(tshark, "-r", filepath.Join(dir, trace.FilePcapng), "-Y", `frame.comment contains "dropped"`).Output()
	if n := strings.Count(string(out), "\n"); err != nil || n != 2 {
		t.Errorf("%d dropped packets, %v", n, err)
	}
}
