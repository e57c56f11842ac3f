package lab

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

const hostsFile = "/etc/hosts"

// prepareMounts makes the mount namespace private, covers the files that name
// other machines and mounts a /proc and /sys of the new namespaces.
func prepareMounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return &NamespaceError{"making mounts private", err}
	}
	hosts, err := os.ReadFile(hostsFile)
	if err != nil {
		hosts = []byte("127.0.0.1\tlocalhost\n::1\tlocalhost\n")
	}
	// With no name server a lookup fails at once, instead of after the
	// timeouts of a server that cannot be reached from here.
	if err := cover(map[string][]byte{hostsFile: hosts, "/etc/resolv.conf": nil}); err != nil {
		return err
	}
	// Containers often forbid these two. What is lost is that programs which
	// list processes or interfaces see the outer ones.
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	_ = unix.Mount("proc", "/proc", "proc", flags, "")
	_ = unix.Mount("sysfs", "/sys", "sysfs", flags, "")
	return nil
}

// cover binds new files over existing ones. They live in a tmpfs whose mount
// point is taken away again, so that no end of the laboratory leaves a file.
// What does not exist is not covered: nothing will look for it.
func cover(files map[string][]byte) error {
	const scaffold = "/sys" // any directory that surely exists
	if err := unix.Mount("lab", scaffold, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=1m,mode=755"); err != nil {
		return &NamespaceError{"mounting a tmpfs", err}
	}
	n := 0
	for target, content := range files {
		if _, err := os.Stat(target); err != nil {
			continue
		}
		n++
		file := fmt.Sprintf("%s/%d", scaffold, n)
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return &NamespaceError{"covering " + target, err}
		}
		if err := unix.Mount(file, target, "", unix.MS_BIND, ""); err != nil {
			return &NamespaceError{"covering " + target, err}
		}
	}
	if err := unix.Unmount(scaffold, unix.MNT_DETACH); err != nil {
		return &NamespaceError{"unmounting a tmpfs", err}
	}
	return nil
}

// The lines between these are the laboratory's.
const (
	hostsBegin = "# laboratory\n"
	hostsEnd   = "# end of laboratory\n"
)

// hostName is a line of the laboratory's part: "203.0.113.1\tserver\t# fd/9",
// the comment naming the host's namespace among the files of the laboratory's
// process, for Join.
type hostName struct {
	name string
	addr netip.Addr
	fd   uintptr
}

// writeHosts replaces the laboratory's part of /etc/hosts. It writes only to
// the tmpfs of cover: without it the file is the machine's.
func writeHosts(names []hostName) error {
	f, err := os.OpenFile(hostsFile, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("lab: names of hosts: %w", err)
	}
	defer f.Close()
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil || fs.Type != unix.TMPFS_MAGIC {
		return fmt.Errorf("lab: names of hosts: %s is not the laboratory's own", hostsFile)
	}
	old, err := os.ReadFile(hostsFile)
	if err != nil {
		return fmt.Errorf("lab: names of hosts: %w", err)
	}
	if before, rest, ok := bytes.Cut(old, []byte(hostsBegin)); ok {
		_, after, _ := bytes.Cut(rest, []byte(hostsEnd))
		old = append(bytes.Clone(before), after...)
	}
	out := bytes.NewBuffer(old)
	if len(old) > 0 && old[len(old)-1] != '\n' {
		out.WriteByte('\n')
	}
	out.WriteString(hostsBegin)
	for _, n := range names {
		fmt.Fprintf(out, "%s\t%s\t# fd/%d\n", n.addr, n.name, n.fd)
	}
	out.WriteString(hostsEnd)
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("lab: names of hosts: %w", err)
	}
	if _, err := f.WriteAt(out.Bytes(), 0); err != nil {
		return fmt.Errorf("lab: names of hosts: %w", err)
	}
	return nil
}
