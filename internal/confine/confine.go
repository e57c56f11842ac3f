// Package confine gives up what a process does not need any more, once its
// sockets and devices are open: privileges, the right to gain new ones, most
// of the file system and TCP. It is the one place where Linux capabilities
// (libcap/cap) and Landlock (go-landlock) enter.
//
// All of it holds for every thread and cannot be undone. Process looks at each
// thread's status afterwards and fails if anything was not given up: the
// caller then ends. Landlock depends on the kernel, which may lack it; the
// result says so. On other systems than Linux there is nothing to call, and
// Process fails with errors.ErrUnsupported.
//
//	landlocked, err := confine.Process(confine.Config{User: "nobody"})
package confine

import "errors"

// Config says what is kept.
type Config struct {
	// User is whom a process of root becomes, with that user's group and no
	// other; empty keeps the user. A process of somebody else keeps its own.
	User string

	// NetAdmin keeps the capability CAP_NET_ADMIN, and no other.
	NetAdmin bool

	// ReadDirs are directories that can still be read, files included.
	ReadDirs []string

	// WriteDirs are directories in which files can still be made, written and
	// removed.
	WriteDirs []string

	// RemoveDirs are directories from which files and sockets can still be
	// removed.
	RemoveDirs []string

	// ConnectTCP are the ports to which TCP connections can still be made.
	ConnectTCP []uint16

	// ConnectAnyTCP keeps all of those ports.
	ConnectAnyTCP bool
}

// ErrNotConfined says that a thread kept something that was to be given up.
var ErrNotConfined = errors.New("privileges were not given up")
