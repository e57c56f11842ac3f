// Package lab puts real programs behind simulated routers.
//
// A [Lab] is the world of testnet/sim on the real clock. Each of its hosts is a
// Linux network namespace with one TUN device, and every packet that a program
// sends there crosses the same links and NATs that the virtual-time tests use:
// a result found with a program in the laboratory can be replayed in a test.
//
// The program calls [Enter] first. It starts itself again in new PID, mount and
// network namespaces (and, without root, a new user namespace), so that the
// network of the machine is never touched, and nothing outlives the laboratory,
// not even one that is killed: the kernel ends every process of a PID namespace
// with its first.
//
//	func main() {
//		inside, code, err := lab.Enter()
//		if err != nil || !inside {
//			os.Exit(code) // the program has run; this is its exit code
//		}
//		l, _ := lab.New(lab.Config{})
//		defer l.Close()
//		server, _ := l.Host("server", link.Config{}, netip.MustParseAddr("203.0.113.1"))
//		home, _ := l.Router("home", natConfig, link.Config{Delay: 10 * time.Millisecond})
//		pc, _ := home.Host("pc", link.Config{}, netip.MustParseAddr("192.168.1.2"))
//		_ = server.Command(ctx, "python3", "-m", "http.server", "80").Start()
//		_ = pc.Command(ctx, "curl", "http://server/").Run()
//	}
//
// A violation of testnet/invariant is an error of [Lab.Close].
//
// All hosts share the file system, the process table and the user of the
// machine; they differ in their network only. Host names resolve through a
// private /etc/hosts.
//
// A host may have addresses of both families; [Router.Delegate] gives a home its
// IPv6. Multicast of both reaches the hosts of the same home: a TUN is enough
// for SSDP, PCP and mDNS (TestMulticast, TestIPv6Multicast), and nothing here
// needs Ethernet. A host may get more interfaces
// than its line: a veth pair between two of them, made by ip(8) with the path of
// [Host.Netns], makes one the other's router, for routers that are programs.
//
// What it leaves out: neighbour discovery and router advertisements (addresses
// and routes are given), broadcast, and every system but Linux.
package lab
