//go:build lab && linux

package natprobe

import (
	"bytes"
	"fmt"
	"net/netip"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"shipworm/testnet/lab"
	"shipworm/testnet/link"
)

// BenchmarkBeside prints verdict and time of this prober, of coturn's
// natdiscovery and of Vovida's stun, one after the other from behind the same
// kernel routers, each with its own server, over a line of 50 ms. Those who
// have none of the programs get this prober's.
func BenchmarkBeside(b *testing.B) {
	if b.N > 1 {
		return // the table is the result, and it is printed
	}
	l, err := lab.New(lab.Config{Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	startProgram(b, l, "turnserver", "-L 12.0.0.1 -L 12.0.0.2")
	stund, err := l.Host("stund", link.Config{Delay: 5 * time.Millisecond}, netip.MustParseAddr("12.0.1.1"), netip.MustParseAddr("12.0.1.2"))
	if err != nil {
		b.Fatal(err)
	}
	cmd := stund.Command(b.Context(), "stund", "-h", "12.0.1.1", "-a", "12.0.1.2")
	if err := cmd.Start(); err == nil {
		defer cmd.Wait()
		if err := stund.WaitReady(b.Context(), "udp", 3478); err != nil {
			b.Fatal(err)
		}
	}
	fmt.Printf("%-10s | %-42s | %-60s | %s\n", "router", "this prober", "turnutils_natdiscovery -m -f", "stun")
	for i, k := range kernels {
		client := kernelHome(b, l, i, k.name, k.rules)
		r := probeFrom(b, client)
		ours := fmt.Sprintf("%5.2f s %s/%s", time.Duration(r.Duration).Seconds(), short(r.Mapping.String()), short(r.Filtering.String()))
		coturn, took := timed(b, client, "turnutils_natdiscovery", "-m", "-f", "12.0.0.1")
		said := regexp.MustCompile(`NAT with (.*)!|timeout`).FindAllString(coturn, -1)
		coturn = fmt.Sprintf("%5.2f s %s", took.Seconds(), short(strings.Join(said, "/")))
		vovida, took := timed(b, client, "stun", "12.0.1.1")
		said = regexp.MustCompile(`Primary: .*`).FindAllString(vovida, 1)
		vovida = fmt.Sprintf("%5.2f s %s", took.Seconds(), strings.TrimPrefix(strings.Join(said, ""), "Primary: "))
		fmt.Printf("%-10s | %-42s | %-60s | %s\n", k.name, ours, coturn, vovida)
	}
}

// short cuts the words of RFC 4787 to their initials.
func short(s string) string {
	return strings.NewReplacer("endpoint-independent", "EI", "address-and-port-dependent", "APD", "address-dependent", "AD",
		"Endpoint Independent", "EI", "Address and Port Dependent", "APD", "Address Dependent", "AD", "NAT with ", "", "!", "").Replace(s)
}

func timed(b *testing.B, h *lab.Host, name string, args ...string) (string, time.Duration) {
	b.Helper()
	if _, err := exec.LookPath(name); err != nil {
		return "(not installed)", 0
	}
	began := time.Now()
	cmd := h.Command(b.Context(), name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	_ = cmd.Run() // their exit codes are verdicts
	return out.String(), time.Since(began)
}
