package confine

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// status is what a thread must have.
type status struct {
	uid, gid int
	caps     uint64 // permitted and effective
}

// verify looks at every thread.
func verify(want status) error {
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(tasks) == 0 {
		return fmt.Errorf("%w: /proc does not show the threads: %v", ErrNotConfined, err)
	}
	for _, t := range tasks {
		b, err := os.ReadFile(t)
		if os.IsNotExist(err) {
			continue // ended meanwhile
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNotConfined, err)
		}
		if err := want.check(b); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrNotConfined, t, err)
		}
	}
	return nil
}

// check compares a thread's status, as proc(5) prints it.
func (want status) check(b []byte) error {
	exact := map[string][]string{
		"NoNewPrivs": {"1"},
		"Uid":        slices.Repeat([]string{strconv.Itoa(want.uid)}, 4),
		"Gid":        slices.Repeat([]string{strconv.Itoa(want.gid)}, 4),
	}
	caps := map[string]uint64{"CapInh": 0, "CapAmb": 0, "CapPrm": want.caps, "CapEff": want.caps}
	seen := 0
	for sc := bufio.NewScanner(bytes.NewReader(b)); sc.Scan(); {
		key, value, _ := strings.Cut(sc.Text(), ":")
		value = strings.TrimSpace(value)
		if w, ok := exact[key]; ok {
			seen++
			if !slices.Equal(strings.Fields(value), w) {
				return fmt.Errorf("%s is %s, want %s", key, value, w[0])
			}
		}
		if w, ok := caps[key]; ok {
			seen++
			if have, err := strconv.ParseUint(value, 16, 64); err != nil || have&^w != 0 {
				return fmt.Errorf("%s is %s, want at most %016x", key, value, w)
			}
		}
	}
	if seen != len(exact)+len(caps) {
		return fmt.Errorf("%d of %d lines found", seen, len(exact)+len(caps))
	}
	return nil
}
