package input

import (
	"slices"
	"sync"
	"time"

	"shipworm/ra/x11"
)

const (
	// ledgerLife is how long an injected press may take to be seen again. One
	// that never comes back must not excuse a later press of somebody else.
	ledgerLife = 5 * time.Second
	// ledgerSize bounds the presses under way: 1,000 a second.
	ledgerSize = 8192
	// escCode is where Esc is on PC keyboards, for a map that has it nowhere.
	escCode = 9
)

// A ledger tells presses that we injected from all others. Inject enters each
// press before it is made; the watch strikes out one entry for each press that
// it sees coming from XTEST. A press without an entry is somebody else's.
type ledger struct {
	mu      sync.Mutex
	entries []entry
	esc     map[byte]bool
}

type entry struct {
	code byte
	at   time.Time
}

// injecting enters a press of ours.
func (l *ledger) injecting(now time.Time, code byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(now)
	if len(l.entries) < ledgerSize {
		l.entries = append(l.entries, entry{code, now})
	}
}

func (l *ledger) expire(now time.Time) {
	n := 0
	for n < len(l.entries) && now.Sub(l.entries[n].at) > ledgerLife {
		n++
	}
	l.entries = slices.Delete(l.entries, 0, n)
}

// seen takes a press from the watch and reports whether it is a foreign Esc.
// fake marks presses made by XTEST; a press of a real keyboard is never ours.
func (l *ledger) seen(now time.Time, code byte, fake bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(now)
	if fake {
		for i, e := range l.entries {
			if e.code == code {
				l.entries = slices.Delete(l.entries, i, i+1)
				return false
			}
		}
	}
	return l.esc[code]
}

// mapped learns which keys are Esc. Keys are only ever added: whoever shares
// control could change the map, and must not take the User's Esc away by it.
func (l *ledger) mapped(k x11.Keymap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.esc == nil {
		l.esc = make(map[byte]bool)
	}
	for code := int(k.Min); code <= 255; code++ {
		if slices.Contains(k.Code(byte(code)), symEscape) {
			l.esc[byte(code)] = true
		}
	}
	if len(l.esc) == 0 {
		l.esc[escCode] = true
	}
}
