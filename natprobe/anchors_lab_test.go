//go:build lab && linux

package natprobe

import (
	"bytes"
	"cmp"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"shipworm/natprobe/report"
	"shipworm/testnet/lab"
	"shipworm/testnet/sim"
)

// anchors are the classifiers that people use, all asking one server.
var anchors = []struct {
	name string
	args []string
	says *regexp.Regexp // what it calls the network
}{
	{"turnutils_natdiscovery", []string{"-m", "-f", "12.0.0.1"}, regexp.MustCompile(`NAT with (.*)!`)},
	{"stun", []string{"12.0.0.1"}, regexp.MustCompile(`Primary: (.*)`)},
	{"stun-nat-behaviour", []string{"-server", "12.0.0.1:3478"}, regexp.MustCompile(`=> NAT (.*)`)},
}

// TestAnchors prints how long the prober takes, how many packets it sends and
// what it says, beside the others, behind Linux's routers at 50 ms from the
// server, and what it promises: on an open network 2 round trips and 5 ms, on
// a filtering one 6 round trips, 2 s where nothing comes back. The median of
// five runs counts. Verdicts are held to, times are not: what else the machine
// does delays packets. TestKinds holds to the times, in virtual time.
func TestAnchors(t *testing.T) {
	for _, p := range []string{"turnutils_natdiscovery", "stun"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs %s: %v", p, err)
		}
	}
	l, err := lab.New(lab.Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	l.CloseAfter(t)
	startProgram(t, l, "shipworm", "")
	pion := filepath.Join(t.TempDir(), "stun-nat-behaviour")
	if out, err := exec.Command("go", "build", "-o", pion, "github.com/pion/stun/v3/cmd/stun-nat-behaviour").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	clients := make([]*lab.Host, len(kernels))
	for i, k := range kernels {
		clients[i] = kernelHome(t, l, i, k.name, k.rules)
	}
	count := counter(l)
	rows := make([][]string, len(kernels))
	for i, k := range kernels {
		node := nodeOf(k.name, len(k.rules))
		type run struct {
			took    time.Duration
			packets int
		}
		var runs []run
		verdict := ""
		for range 5 {
			count(node)
			r := probeKnown(t, clients[i], k.filtering)
			if r.Mapping != k.mapping || r.Filtering != k.filtering || r.Access != k.access {
				t.Errorf("%s: %v, %v, %v: %v", k.name, r.Access, r.Mapping, r.Filtering, r.Evidence)
			}
			runs = append(runs, run{time.Duration(r.Duration), count(node)})
			verdict = fmt.Sprintf("%v, mapping %v, filtering %v", r.Access, r.Mapping, r.Filtering)
		}
		slices.SortFunc(runs, func(a, b run) int { return cmp.Compare(a.took, b.took) })
		median := runs[len(runs)/2]
		rows[i] = append(rows[i], fmt.Sprintf("%s\tshipworm probe\t%.3f (promised %.3f)\t%d\t%s",
			k.name, median.took.Seconds(), promised(k.access, k.filtering).Seconds(), median.packets, verdict))
	}
	// The others spend most of their time waiting.
	var all sync.WaitGroup
	for i, k := range kernels {
		all.Go(func() {
			for _, a := range anchors {
				bin := a.name
				if bin == filepath.Base(pion) {
					bin = pion
				}
				count(nodeOf(k.name, len(k.rules)))
				began := time.Now()
				out, _ := clients[i].Command(t.Context(), bin, a.args...).CombinedOutput() // the exit code is the kind of NAT, or nothing
				took := time.Since(began)
				var says []string
				for _, m := range a.says.FindAllStringSubmatch(string(out), -1) {
					says = append(says, strings.TrimSpace(m[1]))
				}
				if len(says) == 0 {
					says = []string{"nothing"}
				}
				rows[i] = append(rows[i], fmt.Sprintf("%s\t%s\t%.3f\t%d\t%s", k.name, a.name, took.Seconds(), count(nodeOf(k.name, len(k.rules))), strings.Join(says, ", ")))
			}
		})
	}
	all.Wait()
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "network\ttool\tseconds\tpackets\tverdict\n")
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(r, "\n"))
	}
	w.Flush()
	t.Logf("\n%s", &table)
}

func promised(access report.Access, filtering report.Behavior) time.Duration {
	switch {
	case access == report.AccessUnknown:
		return 2 * time.Second
	case filtering == report.EndpointIndependent:
		return 2*rtt + 5*ms
	}
	return 6 * rtt
}

// nodeOf is the host whose packets go out to the Internet.
func nodeOf(kernel string, routers int) string {
	if routers == 0 {
		return "pc-" + kernel
	}
	return "gateway-" + kernel
}

// counter returns a function for how many UDP packets a host sent since it was
// called last.
func counter(l *lab.Lab) func(node string) int {
	var mu sync.Mutex
	sent := map[string]int{}
	l.SetTrace(func(e sim.Event) {
		const udp = 17
		if e.Kind == sim.Sent && len(e.Packet) > 20 && e.Packet[9] == udp {
			mu.Lock()
			defer mu.Unlock()
			sent[e.Node]++
		}
	})
	return func(node string) int {
		mu.Lock()
		defer mu.Unlock()
		n := sent[node]
		sent[node] = 0
		return n
	}
}
