package scenario

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"shipworm/testnet/adversary"
	"shipworm/testnet/igd/install"
	"shipworm/testnet/lab"
	"shipworm/testnet/link"
	"shipworm/testnet/sim"
)

// maxLine bounds a line of a program's output; what is longer is cut.
const maxLine = 8 << 10

// Perform runs a scenario in the laboratory, on the real clock. The process
// must have passed through lab.Enter. Everything that runs is ended before it
// returns, whatever it returns. Errors are as with Simulate; a program that is
// not installed is found before anything is built.
func Perform(ctx context.Context, s *Scenario, opts Options) (result *Result, err error) {
	if err := s.Installed(); err != nil {
		return nil, err
	}
	r := newRun(s, opts)
	l, err := lab.New(lab.Config{Seed: r.seed})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	v := &real{run: r, lab: l, ctx: ctx, hosts: map[*Node]*lab.Host{}, routers: map[*Node]*lab.Router{}, igds: map[*Node]*install.Installed{}, foes: map[*Node]*sim.Host{}, inbox: make(chan func())}
	defer func() {
		cancel()
		if broken := l.Close(); err == nil && broken != nil {
			result, err = nil, broken
		}
		v.programs.Wait()
	}()
	r.stage = v
	if err := l.Change(func(w *sim.World) error { r.watch(w); return nil }); err != nil {
		return nil, err
	}
	if err := s.build(v.add); err != nil {
		return nil, err
	}
	if err := v.install(); err != nil {
		return nil, err
	}
	v.start = time.Now()
	r.begin()
	if err := v.loop(); err != nil {
		return nil, err
	}
	return r.result("laboratory"), nil
}

// real is the stage of the laboratory.
type real struct {
	run      *run
	lab      *lab.Lab
	ctx      context.Context
	start    time.Time
	hosts    map[*Node]*lab.Host
	routers  map[*Node]*lab.Router
	igds     map[*Node]*install.Installed
	foes     map[*Node]*sim.Host // of adversaries: no program needs a namespace there
	inbox    chan func()         // to the goroutine of Perform; nobody sends after ctx
	programs sync.WaitGroup      // goroutines of programs
}

// loop lets things happen, one after the other, until the run is over.
func (v *real) loop() error {
	limit := time.NewTimer(v.run.s.Limit - time.Since(v.start))
	defer limit.Stop()
	for !v.run.over {
		select {
		case f := <-v.inbox:
			f()
		case <-limit.C:
			v.run.now = v.run.s.Limit
			return v.run.err
		case <-v.ctx.Done():
			return context.Cause(v.ctx)
		}
	}
	return v.run.err
}

func (v *real) post(f func()) {
	select {
	case v.inbox <- f:
	case <-v.ctx.Done():
	}
}

func (v *real) at(d time.Duration, f func()) {
	time.AfterFunc(time.Until(v.start.Add(d)), func() {
		v.post(func() {
			v.run.now = max(v.run.now, time.Since(v.start))
			f()
		})
	})
}

func (v *real) report(f func(time.Duration)) {
	now := time.Since(v.start)
	v.post(func() { f(now) })
}

func (v *real) add(n *Node) (err error) {
	in := v.routers[n.Behind]
	switch {
	case n.Adversary && in == nil:
		return v.lab.Change(func(w *sim.World) error {
			v.foes[n], err = w.Host(n.Name, n.Line, n.all()...)
			return err
		})
	case n.Adversary:
		return in.Change(func(r *sim.Router) error {
			v.foes[n], err = r.Host(n.Name, n.Line, n.Addrs[0], n.Addrs6...)
			return err
		})
	case n.IsNAT() && in == nil:
		v.routers[n], err = v.lab.Router(n.Name, *n.NAT, n.Line)
	case n.IsNAT():
		v.routers[n], err = in.Router(n.Name, *n.NAT, n.Line)
	case in == nil:
		v.hosts[n], err = v.lab.Host(n.Name, n.Line, n.all()...)
	default:
		v.hosts[n], err = in.Host(n.Name, n.Line, n.Addrs[0], n.Addrs6...)
	}
	if err == nil && n.IsNAT() {
		err = v.routers[n].SetGateway(n.Lan.Addr().Next())
	}
	if err == nil && n.Prefix.IsValid() {
		err = v.routers[n].Delegate(n.Prefix, n.Firewall)
	}
	return err
}

// install adds the mapping protocols, once every LAN has its hosts.
func (v *real) install() error {
	for _, n := range v.run.s.Nodes {
		if n.IGD.Name == "" {
			continue
		}
		d, err := install.Lab(v.routers[n], n.Lan.Addr().Next(), igdHost(n), n.IGD, nil)
		if err != nil {
			return fmt.Errorf("line %d: %s: %w", n.at.line, n.Name, err)
		}
		v.igds[n] = d
		v.programs.Go(func() { _ = d.Server.Run(v.ctx) })
	}
	return nil
}

func (v *real) restart(n *Node) error {
	if d := v.igds[n]; d != nil {
		return d.Server.Reboot()
	}
	return nil
}

func (v *real) setLine(n *Node, c link.Config) error {
	if n.IsNAT() {
		return v.routers[n].Change(func(r *sim.Router) error { return r.SetLink(c) })
	}
	if foe := v.foes[n]; foe != nil {
		return v.lab.Change(func(*sim.World) error { return foe.SetLink(c) })
	}
	return v.hosts[n].Change(func(h *sim.Host) error { return h.SetLink(c) })
}

func (v *real) router(n *Node, f func(*sim.Router) error) error { return v.routers[n].Change(f) }

func (v *real) tap(n *Node, f func(*sim.World, adversary.Line) error) error {
	var on adversary.Line
	var err error
	switch foe := v.foes[n]; {
	case n.IsNAT():
		err = v.routers[n].Change(func(r *sim.Router) error { on = r; return nil })
	case foe != nil:
		on = foe
	default:
		err = v.hosts[n].Change(func(h *sim.Host) error { on = h; return nil })
	}
	if err != nil {
		return err
	}
	return v.lab.Change(func(w *sim.World) error { return f(w, on) })
}

func (v *real) launch(t *Task) error {
	host, p := v.hosts[t.Program.Host], t.Program
	switch p.Kind {
	case UDPEcho:
		return v.echo(host, t)
	case UDPPing:
		return v.ping(host, t)
	case Other:
		return v.command(host, t, p.Args, func(string) {})
	}
	own, ok := v.run.opts.Programs[p.Kind]
	if !ok {
		return fmt.Errorf("nobody implements %s", p.Kind)
	}
	argv, err := own.Command(t)
	if err != nil {
		return err
	}
	return v.command(host, t, argv, func(line string) { own.Line(t, line) })
}

// command starts a program of the machine on a host.
func (v *real) command(host *lab.Host, t *Task, argv []string, line func(string)) error {
	cmd := host.Command(v.ctx, argv[0], argv[1:]...)
	stdout := &lines{each: func(l string) { v.line(t, l); line(l) }}
	stderr := &lines{each: func(l string) { v.line(t, l) }}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	v.programs.Go(func() {
		err := cmd.Wait()
		if v.ctx.Err() != nil {
			return
		}
		stdout.flush()
		stderr.flush()
		code, note := cmd.ProcessState.ExitCode(), ""
		if code < 0 && err != nil {
			note = err.Error() // the signal that killed it
		}
		t.Exit(code, note)
	})
	if p := t.Program; p.Listen.Port != 0 {
		v.programs.Go(func() {
			if host.WaitReady(v.ctx, p.Listen.Network, p.Listen.Port) == nil {
				v.run.report(func(time.Duration) { t.listening = true })
			}
		})
	}
	return nil
}

// line takes a line that a program printed.
func (v *real) line(t *Task, line string) {
	v.report(func(time.Duration) { t.output.add(line) })
	if v.run.opts.Output != nil {
		v.run.opts.Output(t.Program.Name, line)
	}
}

// lines is a writer that hands on whole lines.
type lines struct {
	each func(string)
	part []byte // of a line that has not ended
}

func (l *lines) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		l.part = append(l.part, line[:min(len(line), maxLine-len(l.part))]...)
		if ended {
			l.each(string(l.part))
			l.part = l.part[:0]
		}
		rest = after
	}
	return len(b), nil
}

// flush hands on a last line without an end.
func (l *lines) flush() {
	if len(l.part) > 0 {
		l.each(string(l.part))
		l.part = nil
	}
}
