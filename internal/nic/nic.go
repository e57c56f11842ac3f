// Package nic makes TUN devices and gives network interfaces their addresses,
// routes and properties, in the network namespace of the calling thread.
//
// It is the one place where songgao/water and vishvananda/netlink enter: the
// laboratory and Teredo's TUN mode both make interfaces. Addresses and routes
// are Linux only; elsewhere Find fails with errors.ErrUnsupported and the
// system's own tools have to do it. What packets mean is for the users to know.
//
//	tun, err := nic.OpenTUN("teredo")
//	defer tun.Close() // the interface goes, with all its addresses and routes
//	link, err := nic.Find(tun.Name())
//	err = link.AddAddr(netip.MustParsePrefix("2001:db8::1/64"))
//	err = link.Up()
package nic

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/songgao/water"
)

// maxName is the longest name of an interface: IFNAMSIZ with its final zero.
const maxName = 15

// ErrName says that a name cannot be an interface's.
var ErrName = errors.New("not a name for an interface: 1 to 15 characters, no space, slash or colon")

// ErrExists says that there is an interface of that name already.
var ErrExists = errors.New("an interface of that name exists")

// ErrNoIPv6 says that IPv6 is switched off, on the host or on an interface.
var ErrNoIPv6 = errors.New("IPv6 is disabled")

// TUN is a device that carries IP packets, one a call. Close ends a pending
// Read.
type TUN struct {
	io.ReadWriteCloser
	name string
}

// Name returns the interface's name: the one asked for or, where the system
// gives names, that.
func (t *TUN) Name() string { return t.name }

// checkName keeps from water what it would cut off or misread, and what it
// would fail on with its file left open.
func checkName(name string) error {
	if name == "" || len(name) > maxName || name == "." || name == ".." || strings.ContainsAny(name, "/: \t\n%") {
		return fmt.Errorf("%q: %w", name, ErrName)
	}
	if _, err := net.InterfaceByName(name); err == nil {
		return fmt.Errorf("%q: %w", name, ErrExists)
	}
	return nil
}

// OpenTUN makes a TUN device. It disappears when it is closed or its process
// ends, however that ends. Programs that this process starts do not inherit it.
func OpenTUN(name string) (*TUN, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	cfg := water.Config{DeviceType: water.TUN}
	dev, err := open(cfg, name)
	if err != nil {
		return nil, fmt.Errorf("open the TUN device %s: %w", name, err)
	}
	return &TUN{ReadWriteCloser: dev.ReadWriteCloser, name: dev.Name()}, nil
}
