package confine

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"github.com/landlock-lsm/go-landlock/landlock"
	llsys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// Process confines the running process as c says, and reports whether the
// kernel knows Landlock. After an error the process may hold anything from all
// to nothing of its privileges: end it.
func Process(c Config) (landlocked bool, err error) {
	if err := dropPrivileges(c); err != nil {
		return false, fmt.Errorf("give up privileges: %w", err)
	}
	want := status{uid: os.Getuid(), gid: os.Getgid()}
	if c.NetAdmin {
		want.caps = 1 << unix.CAP_NET_ADMIN
	}
	// Before Landlock hides /proc.
	if err := verify(want); err != nil {
		return false, err
	}
	if _, err := llsys.LandlockGetABIVersion(); err != nil {
		return false, nil
	}
	if err := restrict(c); err != nil {
		return false, fmt.Errorf("landlock: %w", err)
	}
	return true, nil
}

// MayAdminNet reports whether the process has CAP_NET_ADMIN.
func MayAdminNet() bool {
	may, err := cap.GetProc().GetFlag(cap.Effective, cap.NET_ADMIN)
	return may && err == nil
}

// DropCapabilities gives up what the running process may beyond its user, for
// ever: its capabilities, and to gain any. A process of root becomes that user,
// or, if it is empty, the mere owner of root's files.
func DropCapabilities(user string) error {
	if err := dropPrivileges(Config{User: user}); err != nil {
		return fmt.Errorf("give up privileges: %w", err)
	}
	return verify(status{uid: os.Getuid(), gid: os.Getgid()})
}

func dropPrivileges(c Config) error {
	// unix.Prctl would reach the calling thread only.
	if _, err := cap.Prctlw(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	if err := dropBounding(); err != nil {
		return fmt.Errorf("bounding set: %w", err)
	}
	keep := cap.NewSet()
	if c.NetAdmin {
		if err := keep.SetFlag(cap.Permitted, true, cap.NET_ADMIN); err != nil {
			return err
		}
		if err := keep.SetFlag(cap.Effective, true, cap.NET_ADMIN); err != nil {
			return err
		}
	}
	if err := cap.ResetAmbient(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("ambient set: %w", err)
	}
	if c.User != "" && os.Getuid() == 0 {
		if err := become(c.User); err != nil {
			return err
		}
	}
	return keep.SetProc()
}

// dropBounding empties the bounding set, where the process may: whoever may
// not has no more than what it has.
func dropBounding() error {
	may, err := cap.GetProc().GetFlag(cap.Effective, cap.SETPCAP)
	if err != nil || !may {
		return err
	}
	for v := cap.Value(0); v < cap.MaxBits(); v++ {
		if err := cap.DropBound(v); err != nil {
			return fmt.Errorf("%v: %w", v, err)
		}
	}
	return nil
}

func become(name string) error {
	u, err := user.Lookup(name)
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return err
	}
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("become %s: groups: %w", name, err)
	}
	if err := syscall.Setresgid(gid, gid, gid); err != nil {
		return fmt.Errorf("become %s: group: %w", name, err)
	}
	if err := syscall.Setresuid(uid, uid, uid); err != nil {
		return fmt.Errorf("become %s: user: %w", name, err)
	}
	return nil
}

// restrict leaves what c names of the file system and of TCP. UDP and Unix
// sockets are not touched.
func restrict(c Config) error {
	rules := make([]landlock.Rule, 0, 8)
	for _, d := range c.ReadDirs {
		rules = append(rules, landlock.RODirs(d).IgnoreIfMissing())
	}
	for _, d := range c.WriteDirs {
		rules = append(rules, landlock.RWDirs(d).IgnoreIfMissing())
	}
	for _, d := range c.RemoveDirs {
		rules = append(rules, landlock.PathAccess(llsys.AccessFSRemoveFile, d).IgnoreIfMissing())
	}
	if err := landlock.V7.BestEffort().RestrictPaths(rules...); err != nil {
		return err
	}
	rules = rules[:0]
	for _, p := range c.ConnectTCP {
		rules = append(rules, landlock.ConnectTCP(p))
	}
	if c.ConnectAnyTCP {
		bind, err := landlock.NewConfig(landlock.AccessNetSet(llsys.AccessNetBindTCP))
		if err != nil {
			return err
		}
		// A connection from a certain address binds to port 0 first.
		return bind.BestEffort().RestrictNet(landlock.BindTCP(0))
	}
	return landlock.V7.BestEffort().RestrictNet(rules...)
}
