package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"shipworm/testnet/lab"
	"shipworm/testnet/matrix"
	"shipworm/testnet/nat"
)

// bisect runs the program once for each change of its NAT.
func (p *programBisection) bisect(ctx context.Context, command string, stdout, stderr io.Writer) error {
	if _, err := exec.LookPath(p.exec.argv[0]); err != nil {
		return startError(command, err)
	}
	inside, code, err := lab.Enter()
	if err != nil {
		return laboratoryError(command, err)
	}
	if !inside {
		if code != 0 {
			return &exitError{code: code} // the process inside has said why
		}
		return nil
	}
	defer sayIfSlow(fmt.Sprintf("running it for each change, %v at most", p.timeout))()
	b, err := matrix.BisectProgram(ctx, matrix.ProgramConfig{
		Title: strings.Join(p.exec.argv, " "), Name: p.exec.nat, NAT: p.exec.natConfig, Most: p.most,
		Try: func(ctx context.Context, c nat.Config) (matrix.Trial, error) { return p.try(ctx, command, c, stderr) },
	})
	if err != nil {
		return matrixError(ctx, command, err)
	}
	return p.print(stdout, command, b)
}

// try runs the program behind one NAT, in a laboratory of its own: what an
// earlier try left in tables must not count.
func (p *programBisection) try(ctx context.Context, command string, c nat.Config, stderr io.Writer) (_ matrix.Trial, err error) {
	var none matrix.Trial
	o := p.exec
	o.natConfig = c
	l, err := lab.New(lab.Config{Seed: o.seed})
	if err != nil {
		return none, laboratoryError(command, err)
	}
	defer func() { err = closeLab(command, l, err) }()
	server, _, host, err := o.network(l)
	if err != nil {
		return none, laboratoryError(command, err)
	}
	if err := o.serve(ctx, server); err != nil {
		return none, err
	}
	limited, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	cmd := host.Command(limited, o.argv[0], o.argv[1:]...)
	if o.verbose {
		cmd.Stdout, cmd.Stderr = stderr, stderr
	}
	begin := time.Now()
	err = cmd.Run()
	took := time.Since(begin)
	switch {
	case ctx.Err() != nil:
		return none, context.Cause(ctx)
	case limited.Err() != nil:
		return matrix.Trial{Reason: fmt.Sprintf("no end within %v", p.timeout)}, nil
	case cmd.ProcessState == nil:
		return none, startError(command, err)
	case err != nil:
		return matrix.Trial{Reason: cmd.ProcessState.String()}, nil
	}
	return matrix.Trial{OK: true, Time: took}, nil
}
