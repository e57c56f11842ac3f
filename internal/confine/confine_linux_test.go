package confine

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// childEnv makes this binary a process that confines itself and then tries
// what it should not be able to do. It names a directory that may be read, and
// portEnv a port that may be connected to.
const (
	childEnv = "SHIPWORM_TEST_CONFINE"
	portEnv  = "SHIPWORM_TEST_CONFINE_PORT"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		child(dir)
		return
	}
	os.Exit(m.Run())
}

func child(dir string) {
	var threads sync.WaitGroup
	for range 8 { // threads that are there when it happens
		threads.Go(func() { runtime.LockOSThread(); time.Sleep(100 * time.Millisecond) })
	}
	port, err := strconv.ParseUint(os.Getenv(portEnv), 10, 16)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	landlocked, err := Process(Config{User: "nobody", ReadDirs: []string{dir}, ConnectTCP: []uint16{uint16(port)}})
	if err != nil {
		fmt.Println("confine:", err)
		os.Exit(1)
	}
	threads.Wait()
	try := func(what string, err error) {
		switch {
		case err == nil:
			fmt.Println(what, "works")
		case errors.Is(err, fs.ErrPermission):
			fmt.Println(what, "denied")
		default:
			fmt.Println(what, "fails otherwise")
		}
	}
	dial := func(port uint64) error {
		c, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
		if err == nil {
			c.Close()
		}
		return err
	}
	fmt.Println("landlocked", landlocked)
	_, err = os.ReadFile("/etc/passwd")
	try("passwd", err)
	_, err = os.ReadFile(filepath.Join(dir, "file"))
	try("file", err)
	try("write", os.WriteFile(filepath.Join(dir, "new"), nil, 0o600))
	try("exec", exec.Command("/bin/true").Run())
	try("another port", dial(port^1))
	try("the port", dial(port))
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err == nil {
		_, err = pc.WriteTo([]byte("x"), pc.LocalAddr())
	}
	try("udp", err)
}

// After it nothing is left but what was named. C-02
func TestProcess(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "shipworm-confine") // TMPDIR may be its owner's alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // for nobody
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := errors.Join(os.WriteFile(file, []byte("x"), 0o644), os.Chmod(file, 0o644)); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir, fmt.Sprint(portEnv, "=", l.Addr().(*net.TCPAddr).Port))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !bytes.Contains(out, []byte("landlocked true")) {
		t.Skipf("no Landlock in this kernel; the rest was confirmed:\n%s", out)
	}
	want := "landlocked true\npasswd denied\nfile works\nwrite denied\nexec denied\nanother port denied\nthe port works\nudp works\n"
	if string(out) != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

// A thread that kept something is found. C-02
func TestStatusCheck(t *testing.T) {
	good := "Name:\tx\nUid:\t65534\t65534\t65534\t65534\nGid:\t65534\t65534\t65534\t65534\nGroups:\t\n" +
		"CapInh:\t0000000000000000\nCapPrm:\t0000000000001000\nCapEff:\t0000000000001000\nCapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\n"
	want := status{uid: 65534, gid: 65534, caps: 1 << 12}
	if err := want.check([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{
		{"NoNewPrivs:\t1", "NoNewPrivs:\t0"}, {"NoNewPrivs:\t1\n", ""}, {"Uid:\t65534\t65534", "Uid:\t65534\t0"},
		{"Gid:\t65534", "Gid:\t0"}, {"CapEff:\t0000000000001000", "CapEff:\t0000000000001001"},
		{"CapPrm:\t0000000000001000", "CapPrm:\tx"}, {"CapInh:\t0000000000000000", "CapInh:\t0000000000001000"},
		{"CapAmb:\t0000000000000000", "CapAmb:\t0000000000001000"},
	} {
		if bad := strings.Replace(good, change[0], change[1], 1); want.check([]byte(bad)) == nil {
			t.Errorf("%q in place of %q was not found", change[1], change[0])
		}
	}
}
