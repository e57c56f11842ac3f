package matrix_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"shipworm/testnet/matrix"
	"shipworm/testnet/nat"
)

// TestBisectProgram: the search with programs whose needs are known.
func TestBisectProgram(t *testing.T) {
	inOrder := func(c nat.Config) bool { return c.Fragments == nat.FragmentsAnyOrder }
	open := func(c nat.Config) bool { return c.Filtering == nat.EndpointIndependent }
	for name, test := range map[string]struct {
		needs []func(nat.Config) bool
		most  int
		want  []string
	}{
		"one knob":       {[]func(nat.Config) bool{inOrder}, 1, []string{"fragments"}},
		"not enough":     {[]func(nat.Config) bool{inOrder, open}, 1, nil},
		"two at once":    {[]func(nat.Config) bool{inOrder, open}, 2, []string{"filtering", "fragments"}},
		"nothing to do":  {nil, 1, nil},
		"the default is": {[]func(nat.Config) bool{inOrder}, 0, []string{"fragments"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := nat.ParseProfile("hotel")
			if err != nil {
				t.Fatal(err)
			}
			b, err := matrix.BisectProgram(t.Context(), matrix.ProgramConfig{
				Title: "prog", Name: "hotel", NAT: cfg, Most: test.most,
				Try: func(_ context.Context, c nat.Config) (matrix.Trial, error) {
					for _, need := range test.needs {
						if !need(c) {
							return matrix.Trial{Reason: "exit status 1"}, nil
						}
					}
					return matrix.Trial{OK: true}, nil
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(test.want) == 0 {
				if len(b.Solutions) != 0 {
					t.Errorf("solutions: %v", b.Solutions)
				}
				// Without a NAT it is seen whether that is the cause at all.
				if len(test.needs) > 0 && (b.Bare == nil || b.Bare.From != "none" || b.Bare.Reason != "exit status 1") {
					t.Errorf("without a NAT: %+v", b.Bare)
				}
				return
			}
			if b.Bare != nil || len(b.Solutions) != 1 || len(b.Solutions[0].Changes) != len(test.want) {
				t.Fatalf("solutions: %v", b.Solutions)
			}
			for i, c := range b.Solutions[0].Changes {
				if c.Knob != test.want[i] || !strings.HasPrefix(c.String(), c.Knob+": ") {
					t.Errorf("change %d: %v", i, c)
				}
			}
		})
	}
}

// TestBisectProgramEnds: a trial that cannot take place ends the search.
func TestBisectProgramEnds(t *testing.T) {
	broken := errors.New("no laboratory")
	_, err := matrix.BisectProgram(t.Context(), matrix.ProgramConfig{
		NAT: nat.Config{}, Try: func(context.Context, nat.Config) (matrix.Trial, error) { return matrix.Trial{}, broken },
	})
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	if _, err := matrix.BisectProgram(t.Context(), matrix.ProgramConfig{Most: 9, NAT: nat.Config{Lifetime: -1}}); err == nil {
		t.Error("a bad configuration passed")
	}
}
