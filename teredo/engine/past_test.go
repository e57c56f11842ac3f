package engine

import (
	"encoding/binary"
	"testing"
	"time"
)

// A history lasts until as many others were noted after it as there is room
// for, even if the same peer had one before that it has answered since. T-16
func TestPastKeepsHistories(t *testing.T) {
	now := time.Unix(1e9, 0)
	key := func(i int) (k [16]byte) { binary.BigEndian.PutUint32(k[:], uint32(i)); return k }
	var tried history
	tried.add(now)
	var p past
	has := func(i int) bool { _, ok := p.get(key(i)); return ok }
	p.note(now, key(0), tried)
	p.note(now, key(0), history{}) // it answered
	if has(0) {
		t.Error("an empty history counts")
	}
	for i := 1; i < pastPeers; i++ {
		p.note(now, key(i), tried)
	}
	p.note(now, key(0), tried) // takes its own old place
	p.note(now, key(5), history{})
	p.note(now, key(5), tried) // now stands twice
	for i := pastPeers; i < 2*pastPeers-2; i++ {
		if p.note(now, key(i), tried); !has(0) || !has(5) {
			t.Fatalf("gone after %d others", i-pastPeers+1)
		}
	}
	p.note(now, key(2*pastPeers), tried)
	p.note(now, key(2*pastPeers+1), tried)
	if has(0) || has(5) || len(p.histories) > pastPeers || len(p.order) != pastPeers {
		t.Errorf("still there: %v, %v; %d histories, %d places", has(0), has(5), len(p.histories), len(p.order))
	}
}
