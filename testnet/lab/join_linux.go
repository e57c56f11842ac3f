package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// ErrNoLab is returned where there is no laboratory of that number.
var ErrNoLab = errors.New("no laboratory has this number")

// A HostError says that a laboratory has no such host.
type HostError struct {
	Name  string
	Hosts []string // those that there are
}

func (e *HostError) Error() string {
	return fmt.Sprintf("no host %q: there are %s", e.Name, strings.Join(e.Hosts, ", "))
}

// ID returns the number by which [Join] finds this laboratory: that of the
// process which called [Enter] outside. It is 0 in any other process.
func ID() int {
	if !entered() {
		return 0
	}
	_, _, id := readMarker()
	n, _ := strconv.Atoi(id)
	return n
}

// Join runs a program on a host of a laboratory that another process has
// opened, as somebody at a second keyboard would. It is called outside, by root
// or the laboratory's user. On success it does not return: the calling process
// becomes nsenter (util-linux), and ends with the program or the laboratory.
// In a laboratory without root the program has no privileges, not even those
// of the laboratory's other programs.
func Join(id int, host, program string, args ...string) error {
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	first, main, err := findLab(id)
	if err != nil {
		return fmt.Errorf("lab: %d: %w", id, err)
	}
	hosts, err := os.ReadFile(fmt.Sprintf("/proc/%d/root%s", first, hostsFile))
	if err != nil {
		return fmt.Errorf("lab: %d: %w", id, err)
	}
	fd, err := findHost(hosts, host)
	if err != nil {
		return fmt.Errorf("lab: %d: %w", id, err)
	}
	dir, err := os.Getwd()
	if err != nil {
		dir = "/"
	}
	argv := []string{nsenter, "--target", strconv.Itoa(first), "--mount", "--pid", fmt.Sprintf("--net=/proc/%d/%s", main, fd)}
	ours, err1 := os.Readlink("/proc/self/ns/user")
	theirs, err2 := os.Readlink(fmt.Sprintf("/proc/%d/ns/user", first))
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("lab: %d: %w", id, err)
	}
	if ours != theirs {
		argv = append(argv, "--user", "--preserve-credentials")
	}
	// The directory is looked up inside: nsenter's own would be a window into
	// the mounts outside.
	argv = append(argv, "--", "/bin/sh", "-c", `cd "$1" 2>/dev/null; shift; exec "$@"`, "sh", dir, program)
	argv = append(argv, args...)
	return os.NewSyscallError("execve "+nsenter, syscall.Exec(nsenter, argv, os.Environ()))
}

// findLab returns the laboratory's first process and the one that owns the
// hosts.
func findLab(id int) (first, main int, err error) {
	for _, first := range children(id) {
		if !marked(first, "init", id) {
			continue
		}
		for _, main := range children(first) {
			if marked(main, "main", id) {
				return first, main, nil
			}
		}
	}
	return 0, 0, ErrNoLab
}

func children(pid int) (pids []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, t := range tasks {
		list, _ := os.ReadFile(t)
		for _, f := range strings.Fields(string(list)) {
			if n, err := strconv.Atoi(f); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

// marked reports whether a process was started as that stage of a laboratory.
func marked(pid int, stage string, id int) bool {
	env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return slices.ContainsFunc(strings.Split(string(env), "\x00"), func(kv string) bool {
		return strings.HasPrefix(kv, marker+"="+stage+":") && strings.HasSuffix(kv, fmt.Sprintf(":%d", id))
	})
}

// findHost reads what writeHosts wrote, and returns "fd/9".
func findHost(hosts []byte, name string) (string, error) {
	_, ours, _ := bytes.Cut(hosts, []byte(hostsBegin))
	ours, _, _ = bytes.Cut(ours, []byte(hostsEnd))
	unknown := &HostError{Name: name}
	for line := range strings.Lines(string(ours)) {
		fields := strings.Fields(line)
		if len(fields) != 4 {
			continue
		}
		if fields[1] == name {
			return fields[3], nil
		}
		if !slices.Contains(unknown.Hosts, fields[1]) { // one of both families has two lines
			unknown.Hosts = append(unknown.Hosts, fields[1])
		}
	}
	return "", unknown
}
