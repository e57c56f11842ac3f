package teredo

import (
	"testing"

	"shipworm/teredo/packet"
)

// A step takes what fits the cache: few runs, many single packets, and soon
// after runs have ended many again.
func TestPace(t *testing.T) {
	var p pace
	for _, step := range []struct {
		times, length, want int
	}{
		{1, 40, batchLen}, {1, 1308, batchLen}, {1, 65280, minBatch}, {1, 1308, minBatch}, {1, 16320, 5}, {24, 1308, batchLen},
	} {
		for range step.times {
			p.saw([]packet.Packet{{Len: 72}, {Len: step.length}})
		}
		if got := p.most(); got != step.want {
			t.Errorf("after %d steps of %d bytes: %d, want %d", step.times, step.length, got, step.want)
		}
	}
	if got := new(pace).most(); got != batchLen {
		t.Errorf("at first: %d", got)
	}
}
