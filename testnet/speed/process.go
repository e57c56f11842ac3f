//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// patience is how long an agent may take for what has no duration of its
	// own, on a machine that is busy with something else.
	patience = 15 * time.Second
	// endWithin is how long a program may take to end.
	endWithin = 2 * time.Second
)

// A process is a program under measurement, an agent or a foreign one.
type process struct {
	name   string
	cmd    *exec.Cmd
	said   tail          // by a foreign one
	exited chan struct{} // closed when it has ended
	err    error         // how; read it after exited

	// Of an agent. What fails here fails for good: answers are told from each
	// other by their order only.
	address string // of its tunnel's end
	in      io.WriteCloser
	answers chan answer // one at a time: there is one order at a time
	failed  error
}

// launch starts a program in the namespace; it ends with ctx at the latest.
func (ns *netns) launch(p *process) error {
	p.exited = make(chan struct{})
	if err := ns.start(p.cmd); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}

// await collects the process when it ends.
func (p *process) await() {
	p.err = p.cmd.Wait()
	close(p.exited)
}

// agent starts an agent in a namespace, on one processor if pin is not
// negative, and waits until it is ready.
func (ns *netns) agent(ctx context.Context, pin int, role string, args ...string) (*process, error) {
	own, err := os.Executable()
	if err != nil {
		return nil, err
	}
	argv := pinned(pin, append([]string{own, agentArg, role}, args...))
	p := &process{name: role + " in " + ns.name, cmd: exec.CommandContext(ctx, argv[0], argv[1:]...), answers: make(chan answer, 1)}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stderr = os.Stderr
	if err := ns.launch(p); err != nil {
		return nil, err
	}
	go func() {
		defer p.await() // when all that it said has been read
		for d := json.NewDecoder(out); ; {
			var a answer
			if d.Decode(&a) != nil {
				return
			}
			p.answers <- a
		}
	}()
	a, err := p.answer(ctx, "get ready", patience)
	if err != nil {
		p.stop()
		return nil, err
	}
	p.address = a.Address
	return p, nil
}

// answer waits for one. An agent that owes it too long says where it is stuck,
// and ends.
func (p *process) answer(ctx context.Context, what string, within time.Duration) (answer, error) {
	late := time.NewTimer(within)
	defer late.Stop()
	said := func(a answer) (answer, error) {
		if a.Err != "" {
			return a, fmt.Errorf("%s: %s: %s", p.name, what, a.Err)
		}
		return a, nil
	}
	select {
	case a := <-p.answers:
		return said(a)
	case <-p.exited:
		select {
		case a := <-p.answers: // its last
			return said(a)
		default:
		}
		p.failed = fmt.Errorf("%s: %s: it ended: %v", p.name, what, p.err)
	case <-late.C:
		_ = p.cmd.Process.Signal(syscall.SIGQUIT)
		p.failed = fmt.Errorf("%s: %s: no answer within %v", p.name, what, within)
	case <-ctx.Done():
		p.failed = context.Cause(ctx)
	}
	return answer{}, p.failed
}

// order has an agent do something and waits for it.
func (p *process) order(ctx context.Context, o order) (answer, error) {
	select {
	case <-p.exited:
		if p.failed == nil {
			p.failed = fmt.Errorf("%s: it ended: %v", p.name, p.err)
		}
	default:
	}
	if p.failed != nil {
		return answer{}, p.failed
	}
	line, err := json.Marshal(o)
	if err != nil {
		return answer{}, err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		p.failed = fmt.Errorf("%s: %s: %w", p.name, o.Do, err)
		return answer{}, p.failed
	}
	return p.answer(ctx, o.Do, o.For+patience)
}

// foreign starts a program that is not ours, on one processor if pin is not
// negative.
func (ns *netns) foreign(ctx context.Context, pin int, env []string, argv ...string) (*process, error) {
	p := &process{name: argv[0] + " in " + ns.name}
	argv = pinned(pin, argv)
	p.cmd = exec.CommandContext(ctx, argv[0], argv[1:]...)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, &p.said, &p.said
	if err := ns.launch(p); err != nil {
		return nil, err
	}
	go p.await()
	return p, nil
}

func pinned(cpu int, argv []string) []string {
	if cpu < 0 {
		return argv
	}
	return append([]string{"taskset", "-c", strconv.Itoa(cpu)}, argv...)
}

// blame ends a foreign process that did not do what it should, and adds to the
// error what it said.
func (p *process) blame(err error) error {
	p.stop()
	if s := p.said.String(); s != "" {
		return fmt.Errorf("%w; %s said: %s", err, p.name, s)
	}
	return err
}

// stop ends the process and waits for it.
func (p *process) stop() {
	if p.in != nil {
		p.in.Close() // an agent ends with it, its profile written
	} else {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-p.exited:
	case <-time.After(endWithin):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// tail keeps the end of what a program says.
type tail struct{ b []byte }

func (t *tail) Write(b []byte) (int, error) {
	const most = 1 << 10
	t.b = append(t.b, b...)
	t.b = t.b[max(0, len(t.b)-most):]
	return len(b), nil
}

// String returns it in one line.
func (t *tail) String() string { return strings.Join(strings.FieldsFunc(string(t.b), newline), "; ") }

func newline(r rune) bool { return r == '\n' || r == '\r' }
