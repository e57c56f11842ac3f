package matrix_test

import (
	"strings"
	"testing"

	"shipworm/testnet/matrix"
)

// untidy sends something that is not a packet before it does its work.
type untidy struct{ matrix.UDP }

func (m untidy) Begin(s *matrix.Stage) (matrix.Attempt, error) {
	s.A.Send([]byte("no packet"))
	return m.UDP.Begin(s)
}

// L-05: what no packet may be ends the run, with the pair and the packet.
func TestInvariants(t *testing.T) {
	_, err := matrix.Run(t.Context(), matrix.Config{Method: untidy{}, NATs: []string{"cone"}, Seed: 1})
	if err == nil || !strings.Contains(err.Error(), "cone to cone, run 0") || !strings.Contains(err.Error(), "a checksum is wrong") {
		t.Errorf("error %v, want a breach of an invariant", err)
	}
}
