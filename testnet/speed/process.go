//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A process is a program under measurement, an agent or a foreign one.
type process struct {
	cmd  *exec.Cmd
	said bytes.Buffer // by a foreign one; read it after stop

	address string // of an agent's tunnel
	in      io.WriteCloser
	orders  *json.Encoder
	answers *json.Decoder
}

// agent starts an agent in a namespace, on one processor if pin is not
// negative, and waits until it is ready.
func (ns *netns) agent(ctx context.Context, pin int, role string, args ...string) (*process, error) {
	argv := append([]string{"/proc/self/exe", agentArg, role}, args...)
	argv[0], _ = os.Executable()
	if pin >= 0 {
		argv = append([]string{"taskset", "-c", strconv.Itoa(pin)}, argv...)
	}
	p := &process{cmd: exec.CommandContext(ctx, argv[0], argv[1:]...)}
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stderr = os.Stderr
	if err := ns.start(p.cmd); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", ns.name, role, err)
	}
	p.in, p.orders, p.answers = in, json.NewEncoder(in), json.NewDecoder(out)
	a, err := p.answer()
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", ns.name, role, err)
	}
	p.address = a.Address
	return p, nil
}

func (p *process) answer() (a answer, err error) {
	if err := p.answers.Decode(&a); err != nil {
		return a, err
	}
	if a.Err != "" {
		return a, errors.New(a.Err)
	}
	return a, nil
}

// order has an agent do something and waits for it.
func (p *process) order(o order) (answer, error) {
	err := p.orders.Encode(o)
	if err != nil {
		return answer{}, err
	}
	a, err := p.answer()
	if err != nil {
		err = fmt.Errorf("%s: %w", o.Do, err)
	}
	return a, err
}

// foreign starts a program that is not ours.
func (ns *netns) foreign(ctx context.Context, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, name, args...)}
	p.cmd.Stdout, p.cmd.Stderr = &p.said, &p.said
	if err := ns.start(p.cmd); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", ns.name, name, err)
	}
	return p, nil
}

// blame ends a foreign process that did not do what it should, and adds to the
// error what it said.
func (p *process) blame(err error) error {
	p.stop()
	return fmt.Errorf("%w\n%s", err, p.said.String())
}

// stop ends the process and waits for it.
func (p *process) stop() {
	if p.in != nil {
		p.in.Close() // an agent ends with it, its profile written
	} else {
		_ = p.cmd.Cancel()
	}
	_ = p.cmd.Wait()
}

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

// rss returns the resident memory of the process alone, and of its descendants,
// in bytes. What they share counts for each.
func (p *process) rss() (own, others int64) {
	for i, pid := range p.family() {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if f := strings.Fields(string(b)); len(f) > 1 {
			pages, _ := strconv.ParseInt(f[1], 10, 64)
			if n := pages * int64(os.Getpagesize()); i == 0 {
				own = n
			} else {
				others += n
			}
		}
	}
	return own, others
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
