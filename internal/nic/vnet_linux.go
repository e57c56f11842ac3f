package nic

import (
	"fmt"
	"os"
	"syscall"

	"github.com/songgao/water"
	"golang.org/x/sys/unix"
)

// OpenVnet makes a TUN device that exchanges packets as a network card would,
// each behind a header of ten bytes (Virtual I/O Device 1.2, 5.1.6: struct
// virtio_net_hdr, in the machine's byte order): the kernel may leave the
// checksum and the cutting into segments to the reader, and takes packets for
// which that is still to be done; runs of UDP datagrams only if uso is set. It
// returns the descriptor, which does not block. As with OpenTUN the device
// disappears with it.
func OpenVnet(name string) (fd int, uso bool, err error) {
	// water's own descriptor cannot get the header any more (EBUSY), so its
	// device stays for a moment without an owner.
	if err := checkName(name); err != nil {
		return -1, false, err
	}
	if err := abandon(name); err != nil {
		return -1, false, fmt.Errorf("open the TUN device %s: %w", name, err)
	}
	fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err == nil {
		if uso, err = takeOver(fd, name); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		return -1, false, fmt.Errorf("open the TUN device %s: %w", name, err)
	}
	return fd, uso, nil
}

// abandon makes a device that nobody owns. The lock keeps a program from being
// started meanwhile, which would own it until it has closed what it inherited.
func abandon(name string) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	tun, err := water.New(water.Config{
		DeviceType:             water.TUN,
		PlatformSpecificParams: water.PlatformSpecificParams{Name: name, Persist: true},
	})
	if err != nil {
		return err
	}
	return tun.Close()
}

// takeOver makes fd the owner of the device, so that it goes when fd is closed.
func takeOver(fd int, name string) (uso bool, err error) {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return false, err
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return false, os.NewSyscallError("TUNSETIFF", err)
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 0); err != nil {
		return false, os.NewSyscallError("TUNSETPERSIST", err)
	}
	const basic = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN
	// Linux knows segmentation of UDP since 6.2, and wants both or neither.
	if unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, basic|unix.TUN_F_USO4|unix.TUN_F_USO6) == nil {
		return true, nil
	}
	err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, basic)
	return false, os.NewSyscallError("TUNSETOFFLOAD", err)
}
