package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"shipworm/internal/confine"
	"shipworm/internal/nic"
	"shipworm/teredo"
	"shipworm/teredo/firewall"
	"shipworm/teredo/tun"
)

// systemStateDir is where root keeps what must outlive its processes.
const systemStateDir = "/var/lib/shipworm"

// tunFlags are those of a client that ends its tunnel in the kernel.
type tunFlags struct {
	name         string
	defaultRoute bool
	open         []string
	user         string
}

func (f *tunFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.name, "tun", "", "make the interface `name` and give it the address, for all programs of this host")
	c.Flags().BoolVar(&f.defaultRoute, "default-route", false, "with --tun: reach native IPv6 through the tunnel where no other route leads there")
	c.Flags().StringArrayVar(&f.open, "open", nil, "with --tun: let everybody reach `protocol/port`, such as tcp/22; repeatable")
	f.addUser(c)
}

func (f *tunFlags) addUser(c *cobra.Command) {
	c.Flags().StringVar(&f.user, "user", "nobody", "with --tun, started by root: `user` to become")
}

// needless refuses flags that say something about --tun without it.
func (f *tunFlags) needless() error {
	if f.defaultRoute || len(f.open) > 0 {
		return usageError(errors.New("teredo client: --default-route and --open belong to --tun"))
	}
	return nil
}

// device makes the interface, with the filter's ports open.
func (f *tunFlags) device(cfg tun.Config) (*tun.Device, error) {
	var ports []firewall.Port
	for _, s := range f.open {
		p, err := parsePort(s)
		if err != nil {
			return nil, usageError(fmt.Errorf("teredo: --open %q: %w", s, err))
		}
		ports = append(ports, p)
	}
	cfg.Name, cfg.DefaultRoute = f.name, f.defaultRoute
	dev, err := tun.New(cfg)
	if err != nil {
		return nil, tunError(err)
	}
	for _, p := range ports {
		dev.Open(p)
	}
	return dev, nil
}

func tunError(err error) error {
	switch {
	case errors.Is(err, nic.ErrName), errors.Is(err, nic.ErrExists):
		return usageError(err)
	case errors.Is(err, fs.ErrExist):
		return withHint(err, "another Teredo client or relay has the route: ip -6 route show 2001::/32")
	case errors.Is(err, nic.ErrNoIPv6):
		return withHint(err, "sysctl net.ipv6.conf.all.disable_ipv6 net.ipv6.conf.default.disable_ipv6: both must be 0")
	case errors.Is(err, errors.ErrUnsupported):
		return withHint(err, "TUN devices get addresses on Linux only")
	case errors.Is(err, os.ErrPermission):
		return &exitError{code: exitPermission, hint: "run it with sudo, or as the service that comes with shipworm", err: err}
	}
	return err
}

// start makes the interface and then gives up every privilege: what cfg leads
// to runs without. stop undoes all of it. The helper removes the
// sockets, which this process cannot any more.
func (f *tunFlags) start(cfg *teredo.ClientConfig, sockets []string) (dev *tun.Device, stop func(), err error) {
	if err := f.checkUser(); err != nil {
		return nil, nil, err
	}
	if !confine.MayAdminNet() {
		return nil, nil, tunError(fmt.Errorf("teredo client: --tun: make an interface: %w", fs.ErrPermission))
	}
	helper, wait, err := f.startHelper(sockets)
	if err != nil {
		return nil, nil, tunError(fmt.Errorf("teredo client: --tun: %w", err))
	}
	end := func() { helper.Close(); wait() }
	dev, err = f.device(tun.Config{NoEcho: cfg.NoEcho, Plain: cfg.Plain, Assign: tun.RemoteAssign(helper), Logger: cfg.Logger})
	if err != nil {
		end()
		return nil, nil, err
	}
	if err := f.confine(cfg.Logger, cfg.Map != nil); err != nil {
		dev.Close()
		end()
		return nil, nil, err
	}
	return dev, func() { dev.Close(); end() }, nil
}

// confine leaves the process what a client needs: its sockets and, to look up
// a server by name, the resolver's configuration. What maps ports reads the
// routes, writes its journal and connects to the router at any port.
func (f *tunFlags) confine(log *slog.Logger, maps bool) error {
	keep := confine.Config{User: f.user, ReadDirs: resolverDirs(), ConnectTCP: []uint16{53}}
	if maps {
		keep.ReadDirs, keep.ConnectAnyTCP = append(keep.ReadDirs, "/proc/self"), true
		if dir, err := f.journalDir(); err == nil {
			keep.WriteDirs = []string{dir}
		}
	}
	landlocked, err := confine.Process(keep)
	if err == nil && !landlocked && log != nil {
		log.Warn("the kernel has no Landlock: files stay within reach of this user")
	}
	return err
}

// changesUser reports whether start makes the process another user's.
func (f *tunFlags) changesUser() bool {
	return f.name != "" && f.user != "" && os.Geteuid() == 0
}

// checkUser refuses a user that there is not, before anything is made.
func (f *tunFlags) checkUser() error {
	if !f.changesUser() {
		return nil
	}
	if _, err := user.Lookup(f.user); err != nil {
		return usageError(fmt.Errorf("--user %q: there is no such user", f.user))
	}
	return nil
}

// journalDir is where mappings are written down: where the user's others are, or
// for a process of root, which becomes another user, in a directory of that
// user's that it makes.
func (f *tunFlags) journalDir() (string, error) {
	if !f.changesUser() {
		return mappingDir()
	}
	to, err := user.Lookup(f.user)
	if err != nil {
		return "", err
	}
	uid, _ := strconv.Atoi(to.Uid) // numbers, where there is a root
	gid, _ := strconv.Atoi(to.Gid)
	base := systemStateDir
	if d, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); filepath.IsAbs(d) {
		base = d
	}
	dir := filepath.Join(base, "mappings-"+f.user)
	if err := makePublicDir(base); err != nil {
		return "", err
	}
	for up := base; up != filepath.Dir(up); up = filepath.Dir(up) {
		if info, err := os.Stat(up); err != nil || info.Mode().Perm()&0o001 == 0 {
			return "", errors.Join(fmt.Errorf("%s is not open to %s", up, f.user), err)
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return dir, os.Lchown(dir, uid, gid)
}

func parsePort(s string) (firewall.Port, error) {
	proto, number, _ := strings.Cut(s, "/")
	n, err := strconv.ParseUint(number, 10, 16)
	p := firewall.Port{Proto: map[string]byte{"tcp": 6, "udp": 17}[proto], Number: uint16(n)}
	if err != nil || p.Proto == 0 || p.Number == 0 {
		return p, errors.New("want tcp/PORT or udp/PORT, 1 to 65535")
	}
	return p, nil
}
