package main

import (
	"fmt"
	"os"

	"shipworm/teredo/wire"
	"shipworm/testnet/trace"
)

// traceUsage is that of --trace everywhere.
const traceUsage = "`folder` for the packets: pcapng of all lines and of each, ladder, text, JSON"

// newTrace returns a recorder for the folder that --trace names, or nil for
// none. The folder is made and tried at once: after an experiment it is too
// late to learn that nothing can be written there.
func newTrace(command, dir string) (*trace.Recorder, error) {
	if dir == "" {
		return nil, nil
	}
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		var f *os.File
		if f, err = os.CreateTemp(dir, ".trace-*"); err == nil {
			f.Close()
			err = os.Remove(f.Name())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: --trace: %w", command, err)
	}
	return trace.New(trace.Config{Decode: teredoWords}), nil
}

// teredoWords names a Teredo datagram for a trace, and nothing else.
func teredoWords(b []byte) string {
	var d wire.Datagram
	if wire.Parse(b, &d) != nil {
		return ""
	}
	switch s := (teredoMethod{}).Describe(b); s {
	case "where am I?": // the table has little room, a trace has the RFC's words
		return "Teredo router solicitation"
	case "you are":
		return "Teredo router advertisement"
	default:
		return "Teredo " + s
	}
}
