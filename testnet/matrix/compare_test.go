package matrix_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"shipworm/testnet/matrix"
)

// TestJSON: what is written can be read, ladders apart, and its form is kept.
func TestJSON(t *testing.T) {
	table := run(t, matrix.Config{NATs: []string{"port-restricted", "symmetric"}, Seed: 1, Loss: 0.05, Runs: 4})
	var b bytes.Buffer
	if err := table.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "udp.json.golden", b.Bytes())
	back, err := matrix.ReadJSON(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(table, back, cmpopts.IgnoreFields(matrix.Cell{}, "Ladder"), cmpopts.IgnoreUnexported(matrix.Drop{})); d != "" {
		t.Error(d)
	}
	if changes, err := table.Compare(back); len(changes) > 0 || err != nil {
		t.Errorf("differs from itself: %v, %v", changes, err)
	}
}

func TestReadJSONRefused(t *testing.T) {
	for name, text := range map[string]string{
		"empty":         ``,
		"no JSON":       `NAT`,
		"other file":    `{"schema":1,"profiles":[]}`,
		"newer":         `{"schema":2,"method":"udp","nats":["cone"],"cells":[{"from":"cone","to":"cone","outcome":"failed"}]}`,
		"cells missing": `{"schema":1,"method":"udp","nats":["cone","linux"],"cells":[]}`,
		"other cell":    `{"schema":1,"method":"udp","nats":["cone"],"cells":[{"from":"cone","to":"linux","outcome":"failed"}]}`,
		"outcome":       `{"schema":1,"method":"udp","nats":["cone"],"cells":[{"from":"cone","to":"cone","outcome":"perhaps"}]}`,
	} {
		if _, err := matrix.ReadJSON([]byte(text)); !errors.Is(err, matrix.ErrNotATable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCompare: what got worse is told from what changed and what got better.
// L-07
func TestCompare(t *testing.T) {
	const ms = time.Millisecond
	cell := func(o matrix.Outcome, ok int, d time.Duration, packets int, why string) matrix.Cell {
		return matrix.Cell{From: "x", To: "y", Outcome: o, Runs: 10, OK: ok, Time: d, Packets: packets, Reason: why}
	}
	good := cell(matrix.Connected, 10, 100*ms, 7, "")
	for name, test := range map[string]struct {
		was, now matrix.Cell
		want     string // how the line begins; empty: no line
	}{
		"same":            {good, good, ""},
		"failed":          {good, cell(matrix.Failed, 0, 0, 90, "NAT B: filtered"), "WORSE"},
		"fewer runs":      {good, cell(matrix.Sometimes, 9, 100*ms, 7, "lost"), "WORSE"},
		"fewer of some":   {cell(matrix.Sometimes, 8, 100*ms, 7, "lost"), cell(matrix.Sometimes, 7, 100*ms, 7, "lost"), "WORSE"},
		"slow":            {good, cell(matrix.Connected, 10, 111*ms, 7, ""), "WORSE"},
		"a little slower": {good, cell(matrix.Connected, 10, 110*ms, 7, ""), "changed"},
		"packets":         {good, cell(matrix.Connected, 10, 100*ms, 9, ""), "changed"},
		"faster":          {good, cell(matrix.Connected, 10, 50*ms, 7, ""), "better"},
		"mended":          {cell(matrix.Failed, 0, 0, 90, "NAT B: filtered"), good, "better"},
		"other reason":    {cell(matrix.Failed, 0, 0, 90, "NAT B: filtered"), cell(matrix.Failed, 0, 0, 90, "NAT A: filtered"), "changed"},
		"no address":      {cell(matrix.Failed, 0, 0, 90, "NAT B: filtered"), cell(matrix.Unready, 0, 0, 90, "NAT A: blocked"), "WORSE"},
		"mended but slow": {cell(matrix.Sometimes, 5, 50*ms, 7, "lost"), cell(matrix.Connected, 10, 500*ms, 7, ""), "better"},
	} {
		was := &matrix.Table{Method: "udp", Runs: 10, Cells: []matrix.Cell{test.was}}
		now := &matrix.Table{Method: "udp", Runs: 10, Cells: []matrix.Cell{test.now}}
		changes, err := now.Compare(was)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, c := range changes {
			lines = append(lines, c.String())
			if c.Worse != strings.HasPrefix(c.String(), "WORSE") {
				t.Errorf("%s: Worse is %v: %v", name, c.Worse, c)
			}
		}
		got := strings.Join(lines, "\n")
		if test.want == "" && got != "" || !strings.HasPrefix(got, test.want) || len(changes) > 1 {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// TestCompareConditions: tables made differently are not compared, and cells
// that one lacks are no change.
func TestCompareConditions(t *testing.T) {
	is := matrix.Table{Method: "udp", Runs: 1, Limit: time.Second, Cells: []matrix.Cell{{From: "a", To: "b", Outcome: matrix.Failed}}}
	for what, change := range map[string]func(*matrix.Table){
		"method": func(t *matrix.Table) { t.Method = "teredo" },
		"runs":   func(t *matrix.Table) { t.Runs = 2 },
		"loss":   func(t *matrix.Table) { t.Loss = 0.5 },
		"limit":  func(t *matrix.Table) { t.Limit = 2 },
	} {
		was := is
		change(&was)
		var e *matrix.ConditionsError
		if _, err := is.Compare(&was); !errors.As(err, &e) || e.What != what {
			t.Errorf("%s: %v", what, err)
		}
	}
	was := is
	was.Seed, was.Cells = 9, []matrix.Cell{{From: "c", To: "d", Outcome: matrix.Connected}}
	if changes, err := is.Compare(&was); err != nil || len(changes) > 0 || is.Missing(&was) != 1 {
		t.Errorf("%v, %v, %d missing", changes, err, is.Missing(&was))
	}
}

// FuzzReadJSON: no file makes it panic, and what it accepts can be written
// and compared.
func FuzzReadJSON(f *testing.F) {
	table := run(f, matrix.Config{Method: matrix.UDP{}, NATs: []string{"cone", "symmetric"}})
	var b bytes.Buffer
	if err := table.WriteJSON(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(`{"schema":1,"method":"udp","nats":["cone"],"cells":[{"from":"cone","to":"cone","outcome":"sometimes","ok":-1}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := matrix.ReadJSON(text)
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := errors.Join(got.WriteJSON(&b), got.WriteText(&b), got.WriteHTML(&b)); err != nil {
			t.Fatal(err)
		}
		if changes, err := got.Compare(got); err != nil || len(changes) > 0 {
			// Cells of equal names are one too many.
			seen := map[string]bool{}
			for _, n := range got.NATs {
				if seen[n] {
					return
				}
				seen[n] = true
			}
			t.Errorf("differs from itself: %v, %v", changes, err)
		}
	})
}
