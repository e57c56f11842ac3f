package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// frailEnv makes this binary a program with one watched command, which ends as
// its argument says, and names a file that the command "holds".
const frailEnv = "SHIPWORM_TEST_FRAIL"

func frail(file string) int {
	c := watched(&cobra.Command{Use: "frail HOW", Args: exactArgs(1)}, "file")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			return err
		}
		fmt.Println("holding", os.Getpid())
		var mu sync.Mutex
		switch args[0] {
		case "panic":
			mu.Lock() // nobody could tidy up in this process
			go func() { panic("a fault") }()
			mu.Lock()
		case "panic at once":
			panic("a fault")
		case "fatal": // what no recover() sees
			go func() { mu.Unlock() }()
			select {}
		case "deaf":
			<-c.Context().Done()
			os.Stdout.WriteString("asked\n")
			select {}
		case "stopped":
			stop := exec.Command("sh", "-c", "kill -STOP $PPID; echo stopped")
			stop.Stdout = os.Stdout
			_ = stop.Run()
		case "slow":
			<-c.Context().Done()
			os.Stdout.WriteString("asked\n")
			time.Sleep(300 * time.Millisecond) // the other signal is there by then
			os.Remove(file)
			return c.Context().Err()
		case "polite":
			<-c.Context().Done()
			os.Remove(file)
			return c.Context().Err()
		case "negative":
			os.Remove(file)
			return negativeError(errors.New("no"))
		}
		return nil
	}
	root := newRoot(systemConfig)
	root.AddCommand(c)
	p := program{root, map[string]undo{"file": func(*cobra.Command) func(context.Context) error {
		return func(context.Context) error { return os.Remove(file) }
	}}}
	return p.run(os.Args[1:])
}

// unNohup makes children hear SIGHUP although the tests run under nohup: what a
// process ignores its children ignore, what it catches they do not.
func unNohup() {
	if signal.Ignored(syscall.SIGHUP) {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
}

// Whatever ends a watched command, what it held is given back and the exit code
// is right: 70 where it was not meant to end. C-06 C-07 U-09
func TestWatched(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("nobody watches there")
	}
	unNohup()
	signals := func(s ...syscall.Signal) []syscall.Signal { return s }
	for _, tt := range []struct {
		name, how string
		watcher   []syscall.Signal // sent to it, the second when the first was heard
		watched   syscall.Signal
		code      int
		stderr    string
	}{
		{"a goroutine panics", "panic", nil, 0, exitCrashed, "what it held was given back"},
		{"the command panics", "panic at once", nil, 0, exitCrashed, "what it held was given back"},
		{"the runtime gives up", "fatal", nil, 0, exitCrashed, "what it held was given back"},
		{"it is killed", "deaf", nil, syscall.SIGKILL, exitCrashed, "shipworm: it was killed; what it held was given back\n"},
		{"it is aborted", "deaf", nil, syscall.SIGABRT, exitCrashed, "what it held was given back"},
		{"it hangs", "deaf", signals(syscall.SIGABRT), 0, exitCrashed, "what it held was given back"},
		{"it is stopped", "stopped", signals(syscall.SIGABRT), 0, exitCrashed, "shipworm: it was killed; what it held was given back\n"},
		{"it is done", "negative", nil, 0, exitNegative, "shipworm: no\n"},
		{"interrupted", "polite", signals(syscall.SIGINT), 0, exitInterrupted, ""},
		{"terminated", "polite", signals(syscall.SIGTERM), 0, exitInterrupted, ""},
		{"both are terminated", "slow", signals(syscall.SIGTERM), syscall.SIGTERM, exitInterrupted, ""},
		{"hung up", "polite", signals(syscall.SIGHUP), 0, exitInterrupted, ""},
		{"interrupted twice", "deaf", signals(syscall.SIGINT, syscall.SIGINT), 0, exitInterrupted, ""},
		{"the watcher is killed", "polite", signals(syscall.SIGKILL), 0, -1, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "held")
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // what hangs is killed, which is another exit code
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0], "frail", tt.how)
			cmd.Env = append(os.Environ(), frailEnv+"="+file)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.StdoutPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			in := bufio.NewReader(out)
			line, _ := in.ReadString('\n')
			pid := 0
			if _, err := fmt.Sscanf(line, "holding %d", &pid); err != nil {
				t.Errorf("it said %q", line)
			}
			for i, s := range tt.watcher {
				if i > 0 || tt.how == "stopped" {
					_, _ = in.ReadString('\n')
				}
				_ = cmd.Process.Signal(s)
			}
			if tt.watcher != nil && tt.watched != 0 {
				_, _ = in.ReadString('\n')
				time.Sleep(50 * time.Millisecond) // it may think of a second signal now
			}
			if p, err := os.FindProcess(pid); err == nil && tt.watched != 0 {
				_ = p.Signal(tt.watched)
			}
			_, _ = io.Copy(io.Discard, in) // until both processes are gone
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if !strings.Contains(stderr.String(), tt.stderr) || tt.stderr == "" && stderr.String() != "" {
				t.Errorf("stderr:\n%s\nwant %q", &stderr, tt.stderr)
			}
			if _, err := os.Lstat(file); err == nil {
				t.Error("it was not given back")
			}
		})
	}
}
