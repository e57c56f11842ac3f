package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"shipworm/internal/confine"
	"shipworm/teredo/tun"
)

// A client with a TUN device consists of two processes. The one that reads
// what strangers send has no privilege. The other, the helper, keeps
// CAP_NET_ADMIN and does two things: it gives the interface the Teredo address
// that it is told, with its routes, and it removes the client's sockets in the
// end. It ends when its standard input, one end of a socket pair, does.

// startHelper starts the helper of an interface. The returned file speaks
// tun.RemoteAssign; closing it ends the helper, which wait then waits for.
func (f *tunFlags) startHelper(sockets []string) (conn *os.File, wait func(), err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	near, far := os.NewFile(uintptr(fds[0]), "helper"), os.NewFile(uintptr(fds[1]), "client")
	defer far.Close()
	cmd := exec.Command("/proc/self/exe", "teredo", "tun-helper", fmt.Sprintf("--default-route=%t", f.defaultRoute), f.name)
	cmd.Args = append(cmd.Args, sockets...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stderr = far, os.Stderr
	if err := cmd.Start(); err != nil {
		near.Close()
		return nil, nil, fmt.Errorf("start the helper: %w", err)
	}
	return near, func() { _ = cmd.Wait() }, nil
}

func newTeredoHelperCmd() *cobra.Command {
	var defaultRoute bool
	c := &cobra.Command{
		Use:    "tun-helper INTERFACE [SOCKET]...",
		Short:  "Give a client's interface its address",
		Long:   "Started by a client with --tun; of no use to people.",
		Hidden: true,
		Args:   cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			// A signal to the whole group is the client's business.
			signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			keep := confine.Config{NetAdmin: true}
			for _, socket := range args[1:] {
				keep.RemoveDirs = append(keep.RemoveDirs, filepath.Dir(socket))
				defer os.Remove(socket)
			}
			if _, err := confine.Process(keep); err != nil {
				return err
			}
			return tun.ServeAssign(stdio{}, tun.NewAssign(args[0], defaultRoute))
		},
	}
	c.Flags().BoolVar(&defaultRoute, "default-route", false, "as of the client")
	return c
}

// stdio is the socket that stands in for both directions of standard input.
type stdio struct{}

func (stdio) Read(b []byte) (int, error)  { return os.Stdin.Read(b) }
func (stdio) Write(b []byte) (int, error) { return os.Stdin.Write(b) }

// resolverDirs are where the system's resolver has its configuration: in /etc,
// and wherever /etc/resolv.conf points to.
func resolverDirs() []string {
	dirs := []string{"/etc"}
	if p, err := filepath.EvalSymlinks("/etc/resolv.conf"); err == nil && filepath.Dir(p) != "/etc" {
		dirs = append(dirs, filepath.Dir(p))
	}
	return dirs
}
