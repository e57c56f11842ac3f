//go:build linux

package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A machine is where the figures come from.
type machine struct {
	CPU    string  `json:"cpu"`
	Cores  int     `json:"cores"`
	Kernel string  `json:"kernel"`
	Go     string  `json:"go"`
	Date   string  `json:"date"`
	Load   float64 `json:"load_average_before"`
}

func thisMachine() machine {
	m := machine{CPU: "unknown CPU", Cores: runtime.NumCPU(), Go: runtime.Version(), Date: time.Now().Format(time.DateOnly), Load: loadAverage()}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	return m
}

func (m machine) String() string {
	s := fmt.Sprintf("%s, %d cores, Linux %s, %s, %s; load average %.1f at the start", m.CPU, m.Cores, m.Kernel, m.Go, m.Date, m.Load)
	if m.Load > 1 {
		s += " (something else used this machine: the figures suffer)"
	}
	return s
}

// loadAverage returns the load of the last minute.
func loadAverage() (load float64) {
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		fmt.Sscan(string(text), &load)
	}
	return load
}

// twoProcessors returns two processors that this process may use; the same one
// twice if there is no other.
func twoProcessors() (first, second int, err error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return 0, 0, os.NewSyscallError("sched_getaffinity", err)
	}
	var found []int
	for i := 0; len(found) < 2 && i < 8*int(unsafe.Sizeof(set)); i++ {
		if set.IsSet(i) {
			found = append(found, i)
		}
	}
	return found[0], found[len(found)-1], nil
}
