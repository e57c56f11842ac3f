//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"time"

	"shipworm/testnet/lab"
)

// A process is a program on a host of the laboratory whose output is read
// line by line, as a person would, and kept in a transcript file.
type process struct {
	name  string
	cmd   *lab.Cmd
	stdin io.WriteCloser
	done  chan struct{}
	err   error // of Wait; valid once done is closed

	mu      sync.Mutex
	lines   []string
	read    int           // lines that expect has passed
	changed chan struct{} // closed and renewed with every line
}

// start runs a program on a host; its transcript goes to path.
func start(ctx context.Context, h *lab.Host, transcript, name string, args ...string) (*process, error) {
	file, err := os.Create(transcript)
	if err != nil {
		return nil, err
	}
	p := &process{name: name, cmd: h.Command(ctx, name, args...), done: make(chan struct{}), changed: make(chan struct{})}
	out, in := io.Pipe()
	p.cmd.Stdout, p.cmd.Stderr = in, in
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	fmt.Fprintf(file, "$ %s %s\n", name, strings.Join(args, " "))
	if err := p.cmd.Start(); err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		defer file.Close()
		r := bufio.NewReader(out)
		for {
			line, err := r.ReadString('\n')
			if line != "" {
				fmt.Fprint(file, line)
				p.add(strings.TrimRight(line, "\n"))
			}
			if err != nil {
				return
			}
		}
	}()
	go func() {
		p.err = p.cmd.Wait()
		in.Close()
		<-drained
		close(p.done)
	}()
	return p, nil
}

func (p *process) add(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, line)
	close(p.changed)
	p.changed = make(chan struct{})
}

// expect waits for the next line that matches and returns its submatches.
func (p *process) expect(pattern string, limit time.Duration) ([]string, error) {
	re := regexp.MustCompile(pattern)
	timeout := time.After(limit)
	for {
		p.mu.Lock()
		for p.read < len(p.lines) {
			line := p.lines[p.read]
			p.read++
			if m := re.FindStringSubmatch(line); m != nil {
				p.mu.Unlock()
				return m, nil
			}
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-p.done:
			return nil, fmt.Errorf("%s ended before it said %q: %s", p.name, pattern, p.last())
		case <-timeout:
			return nil, fmt.Errorf("%s did not say %q within %v; last line: %s", p.name, pattern, limit, p.last())
		}
	}
}

func (p *process) last() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lines) == 0 {
		return "(none)"
	}
	return p.lines[len(p.lines)-1]
}

// say types a line into the program.
func (p *process) say(line string) error {
	_, err := io.WriteString(p.stdin, line+"\n")
	return err
}

// end waits for the program to end by itself and returns its exit code.
func (p *process) end(limit time.Duration) (int, error) {
	select {
	case <-p.done:
	case <-time.After(limit):
		return -1, fmt.Errorf("%s did not end within %v", p.name, limit)
	}
	var exit *exec.ExitError
	if p.err != nil && !errors.As(p.err, &exit) {
		return -1, p.err
	}
	return p.cmd.ProcessState.ExitCode(), nil
}
