// Package scenario reads and runs experiments: one TOML file names a network
// of hosts, NATs and lines, what happens to it and when, the programs and the
// adversaries on it, and what is expected of them.
//
// The same file runs on both clocks. Simulate runs it in virtual time, in one
// goroutine and with no socket: the same seed gives the same packets at the
// same nanosecond, and Result.Trace is equal. Perform runs it in the
// laboratory of testnet/lab, on the real clock. Our own programs run in both;
// those of Teredo are handed in (Options.Programs), since testnet imports no
// protocol. Other programs run in the laboratory only: in simulation they are
// skipped, and what is expected of them counts as skipped, not as held.
//
// The format is described in docs/scenario.md. Left out: hosts
// without IPv4, events that change IPv6, events that concern programs, and
// adversaries that need words of a protocol.
//
//	s, err := scenario.Parse(file)
//	if err != nil {
//		return err // a *scenario.FileError: line, column, what was expected
//	}
//	r, err := scenario.Simulate(ctx, s, scenario.Options{Programs: own})
//	if err != nil {
//		return err
//	}
//	for _, x := range r.Expectations {
//		fmt.Println(x.Status, x.Text, x.Seen)
//	}
package scenario
