//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
	"time"
)

// An agent is this program started again in a namespace, as one end of a path
// or as the load on it. It takes orders as JSON lines on standard input,
// answers each with one line on standard output, and ends with its input.

// An order asks an agent for something; what the fields mean is for Do to say.
type order struct {
	Do      string        `json:"do"`
	From    string        `json:"from,omitempty"`
	To      string        `json:"to,omitempty"`
	Streams int           `json:"streams,omitempty"`
	For     time.Duration `json:"for,omitempty"`
	Rate    float64       `json:"rate,omitempty"` // packets a second
	ID      uint64        `json:"id,omitempty"`
	Count   int           `json:"count,omitempty"`
}

// An answer is an agent's. Err is empty where all went well.
type answer struct {
	Err     string        `json:"err,omitempty"`
	Address string        `json:"address,omitempty"` // of the tunnel's end
	Bytes   int64         `json:"bytes,omitempty"`
	Packets int64         `json:"packets,omitempty"`
	Sources int64         `json:"sources,omitempty"` // addresses that asked, which come round
	Took    time.Duration `json:"took,omitempty"`
	Again   int64         `json:"again,omitempty"` // of Packets, sent again
	Times   []float64     `json:"times,omitempty"` // round trips in µs
	Allocs  uint64        `json:"allocs,omitempty"`
}

// A role is what an agent does besides answering: it starts something, tells
// its address, and returns what it can be asked.
type role func(ctx context.Context, args []string) (address string, orders map[string]func(order) (answer, error), err error)

var roles = map[string]role{
	"kernel": kernelRole,
	"tun":    tunRole,
	"stack":  stackRole,
	"relay":  relayRole,
	"naive":  naiveRole,
	"runs":   runsRole,
	"server": serverRole,
	"flood":  floodRole,
}

// runAgent is the main function of an agent.
func runAgent(name string, args []string) error {
	start, ok := roles[name]
	if !ok {
		return fmt.Errorf("no role %q", name)
	}
	if dir := os.Getenv(profileEnv); dir != "" {
		stop, err := profile(filepath.Join(dir, fmt.Sprintf("%s-%d", name, os.Getpid())))
		if err != nil {
			return err
		}
		defer stop()
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	out := json.NewEncoder(os.Stdout)
	address, orders, err := start(ctx, args)
	if err != nil {
		return out.Encode(answer{Err: err.Error()})
	}
	if err := out.Encode(answer{Address: address}); err != nil {
		return err
	}
	for in := json.NewDecoder(os.Stdin); ; {
		var o order
		if err := in.Decode(&o); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		var a answer
		err := fmt.Errorf("no order %q", o.Do)
		if f := orders[o.Do]; f != nil {
			a, err = f(o)
		} else if o.Do == "allocs" {
			a.Allocs, err = allocs(), nil
		}
		if err != nil {
			a.Err = err.Error()
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}

// profile begins a CPU profile, and ends it with one of allocations beside.
func profile(base string) (stop func(), err error) {
	runtime.MemProfileRate = 4 << 10 // few allocations, and each of interest
	f, err := os.Create(base + ".cpu.pprof")
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
		runtime.GC() // the profile of allocations is that of the last
		if f, err := os.Create(base + ".allocs.pprof"); err == nil {
			_ = pprof.Lookup("allocs").WriteTo(f, 0)
			f.Close()
		}
	}, nil
}

// allocs returns how many objects this process has put on the heap.
func allocs() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
