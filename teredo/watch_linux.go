package teredo

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// linkSettle lets a burst of changes (an interface that comes up brings a
// dozen) pass as one. Where they never end, as on a host with a routing
// daemon, the pause is longer: each piece of news costs a solicitation.
const (
	linkSettle     = 100 * time.Millisecond
	linkSettleLong = 2 * time.Second
	linkPatience   = 5                // pieces of news until then
	linkQuiet      = 10 * time.Second // makes the pause short again
)

// settle returns the pause after a change that n pieces of news precede
// without a quiet while between them.
func settle(n int) time.Duration {
	if n < linkPatience {
		return linkSettle
	}
	return linkSettleLong
}

// watchLinks tells of changes of the host's IPv4 addresses and routes, which
// the kernel announces to everybody over rtnetlink.
func watchLinks(ctx context.Context, log *slog.Logger, news chan<- string) {
	f, err := openRoutes()
	if err != nil {
		log.Warn("changes of the network go unnoticed", "err", err)
		return
	}
	defer f.Close()
	defer context.AfterFunc(ctx, func() { f.Close() })()
	buf := make([]byte, 64<<10)
	var told time.Time
	busy := 0
	for {
		n, err := f.Read(buf)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, unix.ENOBUFS): // messages were lost: something changed
		case err != nil:
			log.Warn("changes of the network go unnoticed from now on", "err", err)
			return
		case !relevant(buf[:n]):
			continue
		}
		if time.Since(told) > linkQuiet {
			busy = 0
		}
		select {
		case <-time.After(settle(busy)):
		case <-ctx.Done():
			return
		}
		drain(f, buf)
		tell(news, "an address or route changed")
		told, busy = time.Now(), busy+1
	}
}

func openRoutes() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket AF_NETLINK", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{
		Family: unix.AF_NETLINK,
		Groups: unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV4_ROUTE,
	}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind AF_NETLINK", err)
	}
	return os.NewFile(uintptr(fd), "rtnetlink"), nil
}

// relevant reports whether b holds an address or route message. The header of
// a netlink message is length (4), type (2), flags (2), sequence (4), port (4).
func relevant(b []byte) bool {
	if len(b) < unix.SizeofNlMsghdr {
		return false
	}
	switch binary.NativeEndian.Uint16(b[4:]) {
	case unix.RTM_NEWADDR, unix.RTM_DELADDR, unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return true
	}
	return false
}

// drain throws away what came in the meantime.
func drain(f *os.File, buf []byte) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Read(func(fd uintptr) bool {
		for {
			if n, err := unix.Read(int(fd), buf); n <= 0 || err != nil {
				return true
			}
		}
	})
}
