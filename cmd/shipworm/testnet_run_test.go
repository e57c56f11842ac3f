package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shipworm/testnet/scenario"
	"shipworm/testnet/trace"
)

const scenarioDir = "../../docs/scenarios"

func parseScenario(t *testing.T, file string) *scenario.Scenario {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := scenario.Parse(src)
	if err != nil {
		t.Fatalf("%s:%v", file, err)
	}
	return s
}

// Every example of the documentation holds in virtual time, whatever the seed,
// and a seed repeats every packet. (L-02)
func TestScenarioExamples(t *testing.T) {
	files, err := filepath.Glob(scenarioDir + "/*.toml")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".toml"), func(t *testing.T) {
			s := parseScenario(t, file)
			traces := map[string]bool{}
			var first *scenario.Result
			for seed := uint64(1); seed <= 5; seed++ {
				r := simulateScenario(t, s, scenario.Options{Seed: seed})
				for _, x := range r.Expectations {
					if x.Verdict == scenario.VerdictFailed {
						t.Errorf("seed %d, line %d: %s: %s", seed, x.Line, x.Text, x.Seen)
					}
				}
				if r.Count(scenario.VerdictHeld) == 0 {
					t.Error("nothing held: the example shows nothing in virtual time")
				}
				traces[r.Trace] = true
				if first == nil {
					first = r
				}
			}
			again := simulateScenario(t, s, scenario.Options{Seed: 1, Recorder: trace.New(trace.Config{})})
			if again.Trace != first.Trace || again.Packets != first.Packets {
				t.Errorf("trace %s of %d events, then %s of %d", first.Trace, first.Packets, again.Trace, again.Packets)
			}
			if len(traces) < 2 {
				t.Error("the seed makes no difference")
			}
		})
	}
}

func simulateScenario(t *testing.T, s *scenario.Scenario, opts scenario.Options) *scenario.Result {
	t.Helper()
	opts.Programs = ownPrograms()
	r, err := scenario.Simulate(t.Context(), s, opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A scenario whose clients cannot reach each other fails as the command line
// programs do: with exit code 3, and the packets that were dropped for it.
func TestScenarioUnreachable(t *testing.T) {
	src, err := os.ReadFile(scenarioDir + "/two-homes.toml")
	if err != nil {
		t.Fatal(err)
	}
	symmetric := strings.NewReplacer(`"cone"`, `"symmetric"`, `"port-restricted"`, `"symmetric"`)
	silent := strings.NewReplacer("[program.ping]\n", "[[event]]\nat = \"500ms\"\nunplug = \"server\"\n\n[program.ping]\nstart = \"1s\"\n")
	for _, tt := range []struct {
		name   string
		change *strings.Replacer
		seen   string
	}{
		{"two symmetric NATs", symmetric, "exit code 3"},
		{"the server goes", silent, "exit code 3 after 15.5s, no answer from the Teredo server"},
	} {
		file := tt.change.Replace(string(src))
		t.Run(tt.name, func(t *testing.T) {
			s, err := scenario.Parse([]byte(file))
			if err != nil {
				t.Fatal(err)
			}
			r := simulateScenario(t, s, scenario.Options{})
			last := r.Expectations[len(r.Expectations)-1]
			if last.Verdict != scenario.VerdictFailed || !strings.HasPrefix(last.Seen, tt.seen) {
				t.Errorf("%s: %s (%s), want failed with %s", last.Text, last.Verdict, last.Seen, tt.seen)
			}
		})
	}
}

// The result as JSON is schema 1.
func TestScenarioJSON(t *testing.T) {
	s := parseScenario(t, scenarioDir+"/two-homes.toml")
	var out bytes.Buffer
	if err := simulateScenario(t, s, scenario.Options{}).WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Schema       int
		Clock        string
		Seed         uint64
		Trace        string
		Expectations []struct {
			Line          int
			Verdict, Seen string
		}
		Programs []struct {
			Name string
			Exit *int
			RTT  []int64 `json:"rtt_ns"`
		}
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Schema != 1 || got.Clock != "simulation" || got.Seed != 1 || len(got.Trace) != 64 || len(got.Expectations) != 4 ||
		got.Expectations[3].Line != 60 || got.Expectations[3].Verdict != "held" {
		t.Errorf("JSON:\n%s", &out)
	}
	if p := got.Programs[3]; p.Name != "ping" || p.Exit == nil || *p.Exit != 0 || len(p.RTT) != 5 {
		t.Errorf("program %+v", p)
	}
}
