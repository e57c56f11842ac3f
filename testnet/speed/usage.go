//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cpu returns how long the process and its descendants have run. The
// scheduler's own count is exact, where the ticks of stat miss short runs.
func (p *process) cpu() (sum time.Duration) {
	for _, pid := range p.family() {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		for _, f := range files {
			if b, err := os.ReadFile(f); err == nil {
				var ns int64
				fmt.Sscan(string(b), &ns)
				sum += time.Duration(ns)
			}
		}
	}
	return sum
}

// wakes returns how often the threads of the process and its descendants waited
// for something and were woken.
func (p *process) wakes() (sum int64) {
	for _, pid := range p.family() {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		for _, f := range files {
			b, _ := os.ReadFile(f)
			for line := range strings.Lines(string(b)) {
				if rest, ok := strings.CutPrefix(line, "voluntary_ctxt_switches:"); ok {
					n, _ := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
					sum += n
				}
			}
		}
	}
	return sum
}

// rss returns the resident memory of the process and its descendants in bytes.
// What they share counts for each.
func (p *process) rss() (sum int64) {
	for _, pid := range p.family() {
		sum += resident(pid)
	}
	return sum
}

// member returns which of the process and its descendants has a file open.
func (p *process) member(file string) (int, error) {
	for _, pid := range p.family() {
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, fd := range fds {
			if target, _ := os.Readlink(fd); target == file {
				return pid, nil
			}
		}
	}
	return 0, fmt.Errorf("%s: none of its processes has %s open", p.name, file)
}

// resident returns the resident memory of a process in bytes. What the kernel
// keeps in statm lags behind by some pages for each thread.
func resident(pid int) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "Rss:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// family returns the process and its descendants.
func (p *process) family() []int {
	children := map[int][]int{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range files {
		b, _ := os.ReadFile(f)
		// The program's name, in brackets, may hold anything.
		if _, rest, ok := strings.Cut(string(b), ") "); ok {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			if fields := strings.Fields(rest); len(fields) > 1 {
				parent, _ := strconv.Atoi(fields[1])
				children[parent] = append(children[parent], pid)
			}
		}
	}
	all := []int{p.cmd.Process.Pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}
