package teredo

import (
	"testing"

	"shipworm/teredo/packet"
)

// A step takes what fits the cache: few runs, many single packets, and soon
// after runs have ended many again. It has little room where little comes.
func TestPace(t *testing.T) {
	p := pace{}
	if got := p.most(); got != 2*minBatch {
		t.Errorf("at first: %d", got)
	}
	for _, step := range []struct {
		times, packets, length, want int
	}{
		{1, 1, 40, 2 * minBatch},
		{1, 8, 1308, 32}, {1, 32, 1308, batchLen}, {5, 64, 1308, batchLen},
		{1, 4, 65280, minBatch}, {1, 4, 1308, minBatch}, {1, 4, 16320, 5}, {24, 4, 1308, 16}, {1, 16, 1308, batchLen},
		{1, 1, 72, 2 * minBatch},
	} {
		pkts := make([]packet.Packet, step.packets)
		pkts[0].Len = step.length
		for range step.times {
			p.saw(pkts)
		}
		if got := p.most(); got != step.want {
			t.Errorf("after %d steps of %d packets of %d bytes: %d, want %d", step.times, step.packets, step.length, got, step.want)
		}
	}
}
