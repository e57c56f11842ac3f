package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrOutside is returned where a laboratory was asked for in a process that
// did not pass through [Enter]: its network would be the machine's own.
var ErrOutside = errors.New("lab: not inside a laboratory's namespaces: call Enter first")

// NamespaceError says that the system did not give the namespaces.
type NamespaceError struct {
	Op  string // what was being done
	Err error
}

func (e *NamespaceError) Error() string { return "lab: " + e.Op + ": " + e.Err.Error() }
func (e *NamespaceError) Unwrap() error { return e.Err }

// marker tells a re-executed process its stage, the network namespace that it
// must not be in, and the number of the process that waits for it outside:
// "init:4026531840:4711", then "main:4026531840:4711".
const marker = "SHIPWORM_LAB"

func readMarker() (stage, outer, id string) {
	stage, rest, _ := strings.Cut(os.Getenv(marker), ":")
	outer, id, _ = strings.Cut(rest, ":")
	return stage, outer, id
}

// Enter moves the rest of the program into namespaces of its own.
//
// It starts the running executable again with the same arguments, and waits.
// In that process Enter returns inside = true and the program goes on. In the
// process that the caller started it returns inside = false when the other has
// ended; the caller then exits with code and does nothing else. It is 128 + n
// after signal n, as in a shell, and 1 with an error, which is a
// [*NamespaceError] when the system refuses the namespaces.
//
// The program keeps its user, group, directory, standard streams and terminal;
// without them it gains the capabilities that a laboratory needs, inside only
// (but no root that lacks CAP_SETFCAP, too: Linux lets it have no namespace).
// Its file system is the same, but mounts made inside stay inside; /proc shows
// the laboratory's processes unless the system (some containers) forbids that.
// SIGINT, SIGTERM and SIGHUP are passed on. If the outer process is killed,
// everything inside is killed with it.
//
// Enter must be called before the program starts anything: all that came
// before happens again inside.
func Enter() (inside bool, code int, err error) {
	switch stage, outer, id := readMarker(); {
	case stage == "init" && os.Getpid() == 1:
		code, err = runInit(outer + ":" + id)
		return false, code, err
	case stage == "main" && entered():
		return true, 0, nil
	}
	code, err = runOuter()
	return false, code, err
}

// entered reports whether this process is the one that Enter promised: the
// child of the namespace's init, in another network than the machine's. The
// environment alone is no proof, since children inherit it.
func entered() bool {
	stage, outer, _ := readMarker()
	if outer == "" || stage != "main" || os.Getppid() != 1 {
		return false
	}
	here, err := netnsID("/proc/self/ns/net")
	return err == nil && here != outer
}

// capabilities are what a laboratory needs: namespaces and mounts, links and
// routes, ping, and servers on low ports.
var capabilities = [...]uintptr{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_NET_BIND_SERVICE}

// capable reports whether the process has these capabilities. Root of a container
// often has not.
func capable() bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData // 32 capabilities each
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return false
	}
	for _, c := range capabilities {
		if data[c/32].Effective&(1<<(c%32)) == 0 {
			return false
		}
	}
	return true
}

// runOuter starts the init stage and waits for it.
func runOuter() (int, error) {
	outer, err := netnsID("/proc/self/ns/net")
	if err != nil {
		return 1, &NamespaceError{"reading the network namespace", err}
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = os.Args
	cmd.Env = append(withoutMarker(os.Environ()), fmt.Sprintf("%s=init:%s:%d", marker, outer, os.Getpid()))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	attr := &syscall.SysProcAttr{
		// No IPC namespace: a program shares memory with the machine's X server.
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Geteuid() != 0 || !capable() {
		// The user stays who they are: programs that refuse to run as root,
		// or that drop root, behave as they do outside.
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
		attr.AmbientCaps = capabilities[:]
	}
	cmd.SysProcAttr = attr

	// The parent-death signal is tied to the thread that forked.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	restore := keepTerminal()
	defer restore()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 1, &NamespaceError{"creating namespaces", err}
	}
	ended := make(chan struct{})
	defer close(ended)
	go forwardSignals(cmd.Process, signals, ended)
	return exitStatus(cmd.Wait())
}

func exitStatus(err error) (int, error) {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case !errors.As(err, &exit):
		return 1, err
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok {
		return waitCode(ws), nil
	}
	return exit.ExitCode(), nil
}

func waitCode(ws syscall.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

func withoutMarker(env []string) []string {
	var out []string
	for _, kv := range env {
		if !strings.HasPrefix(kv, marker+"=") {
			out = append(out, kv)
		}
	}
	return out
}

// netnsID returns the inode of a namespace file, which identifies it.
func netnsID(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return fmt.Sprint(st.Ino), nil
}
