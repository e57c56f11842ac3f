package scenario

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"shipworm/testnet/nat"
)

// small is a correct file that bad ones are made of.
const small = `[host.a]
[host.b]
[nat.n]
profile = "cone"
[host.c]
behind = "n"
`

const natNames = "want cone, address-restricted, port-restricted, symmetric, "

func TestBadFiles(t *testing.T) {
	tests := []struct {
		name, file string
		want       []string
	}{
		{"syntax", "[host.a]\naddress = \n", []string{`2:11: not TOML: unexpected character U+000A at start of value`}},
		{"duplicate key", "title = \"x\"\ntitle = \"y\"\n[host.a]\n", []string{`2:1: not TOML: key title is already defined: want it once`}},
		{"empty", "", []string{`1:1: no host: want a table [host.NAME]`}},
		{"hosts without a name", "[host]\n", []string{`1:1: no host: want a table [host.NAME]`}},
		{"no time at all", "limit = \"0s\"\n" + small + "[[event]]\nat = \"1s\"\nunplug = \"a\"\n", []string{`1:1: limit is 0: want the longest time that a run may take`}},
		{"unknown key", small + "[hots.x]\n", []string{`7:2: unknown key "hots": want title, seed, limit, nat, host, adversary, program, event, expect`}},
		{"unknown key in a table", "[host.a]\nadress = \"192.0.2.1\"\n", []string{`2:1: unknown key "adress": want behind, link, address`}},
		{"unknown key of a line", "[host.a]\nlink = { delay = \"1ms\", los = 0.1 }\n",
			[]string{`2:25: unknown key "los": want delay, jitter, loss, burst, reorder, hold, duplicate, corrupt, rate, queue, codel, target, interval, mtu`}},
		{"wrong type", "[host.a]\nlink = { delay = 20 }\n", []string{`2:18: delay is an integer: want a time such as "250ms", "30s" or "1h30m"`}},
		{"wrong types", "title = 1\nhost = 5\n", []string{
			`1:9: title is an integer: want a string`,
			`2:8: host is an integer: want named tables, such as [host.NAME]`}},
		{"not a list", small + "[event]\nat = \"1s\"\n", []string{`7:2: event is a table: want a list of tables, [[event]]`}},
		{"bad duration", "limit = \"1 minute\"\n" + small, []string{`1:9: limit "1 minute": want a time such as "250ms", "30s" or "1h30m"`}},
		{"negative duration", "[host.a]\nlink.delay = \"-1s\"\n", []string{`2:14: delay "-1s": want a time such as "250ms", "30s" or "1h30m"`}},
		{"CoDel without a rate", "[host.a]\nlink = { codel = true }\n", []string{`2:8: link: CoDel without a rate has no queue: want both`}},
		{"wrong type of a switch", "[host.a]\nlink = { codel = 1 }\n", []string{`2:18: codel is an integer: want true or false`}},
		{"bad share", "[host.a]\nlink = { loss = 30 }\n", []string{`2:17: loss = 30: want a share such as 0.015 or "1.5%"`}},
		{"bad name", "[host.Alice_1]\n", []string{`1:7: "Alice_1" is no name of a node: want 1 to 32 of a-z, 0-9 and hyphens inside, and not internet or localhost`}},
		{"name with a meaning", "[host.localhost]\n[nat.internet]\n", []string{`1:7: "localhost" is no name of a node: want ...`, `2:6: "internet" is no name of a node: want ...`}},
		{"name of a router's host", "[host.n-igd]\n[nat.n]\nprofile = \"cone\"\nigd = \"miniupnpd\"\n",
			[]string{`1:7: the name "n-igd" is taken: it is of the host that opens the ports of n; want another`}},
		{"name taken", "[host.a]\n[nat.a]\nprofile = \"cone\"\n", []string{`2:6: the name "a" is taken: line 1 has it; want another`}},
		{"unknown NAT", "[host.a]\n[nat.n]\nprofile = \"cnoe\"\n", []string{`3:11: no such NAT: "cnoe": ` + natNames + "..."}},
		{"no profile", "[host.a]\n[nat.n]\n", []string{`2:6: profile is missing: ` + natNames + "..."}},
		{"profile and file", "[host.a]\n[nat.n]\nprofile = \"cone\"\nfile = \"x.json\"\n", []string{`4:1: n has both profile and file: want one of them`}},
		{"file without a folder", "[host.a]\n[nat.n]\nfile = \"x.json\"\n", []string{`3:8: want profile: the scenario itself was not read from a file`}},
		{"unknown knob", "[host.a]\n[nat.n]\nprofile = \"cone\"\nknobs = { maping = \"x\" }\n", []string{`4:11: no such knob: "maping": want mapping, filtering, tcp_mapping, ...`}},
		{"bad words and types of knobs", "[host.a]\n[nat.n]\nprofile = \"cone\"\n[nat.n.knobs]\nmapping = \"open\"\nfiltering = 3\nlifetime = \"x\"\nport_min = 70_000\nparity = 1\nblock_ports = \"dns\"\nexternal = \"192.0.2.1\"\n", []string{
			`5:11: mapping: no behavior "open": want endpoint-independent, address-dependent, address-and-port-dependent`,
			`6:13: filtering: it is an integer: want a string`,
			`7:12: lifetime: "x": want a time such as "250ms", "30s" or "1h30m"`,
			`8:12: port_min: 70_000: want a whole number from 0 to 65535`,
			`9:10: parity: it is an integer: want true or false`,
			`10:15: block_ports: it is a string: want a list`,
			`11:1: no such knob: "external": want mapping, ...`}},
		{"knobs that do not fit", "[host.a]\n[nat.n]\nprofile = \"cone\"\nknobs = { port_min = 5000, port_max = 4000 }\n", []string{`2:6: n: ...`}},
		{"undefined NAT", "[nat.n]\nprofile = \"cone\"\n[host.a]\nbehind = \"m\"\n", []string{`4:10: behind = "m" is no NAT of this file: want n`}},
		{"behind a host", "[host.a]\n[host.b]\nbehind = \"a\"\n", []string{`3:10: behind = "a" is no NAT of this file: there is none`}},
		{"behind itself", "[host.a]\n[nat.n]\nprofile = \"cone\"\nbehind = \"m\"\n[nat.m]\nprofile = \"cone\"\nbehind = \"n\"\n",
			[]string{`4:10: n is behind itself (n behind m behind n): want a chain that ends on the Internet`}},
		{"behind a ring", "[nat.l]\nprofile = \"cone\"\nbehind = \"m\"\n[nat.m]\nprofile = \"cone\"\nbehind = \"m\"\n[host.a]\nbehind = \"l\"\n",
			[]string{`6:10: m is behind itself (m behind m): want a chain that ends on the Internet`}},
		{"a list of hosts", "[[host]]\nname = \"a\"\n", []string{`1:3: host is a list of tables: want named tables, such as [host.NAME]`}},
		{"no text", "[host.a]\n\x00", []string{`1:1: this is no text: want a file in TOML`}},
		{"table twice", "[host.a]\n[host.a]\n", []string{`2:2: not TOML: table a already exists: want it once`}},
		{"mark before the text", "\ufeff[host.a]\nx = 1\n", []string{`2:1: unknown key "x": want behind, link, address`}},
		{"no address", "[host.a]\naddress = []\n", []string{`2:1: address is an empty list: want the IPv4 or IPv6 address of ...`}},
		{"addresses of no network", "[host.a]\naddress = [\"127.0.0.1\", \"169.254.1.1\", \"0.0.0.9\", \"255.255.255.255\", \"240.0.0.1\", \"::1\"]\n", []string{
			`2:12: address "127.0.0.1": want ...`, `2:25: address "169.254.1.1": want ...`, `2:40: address "0.0.0.9": want ...`,
			`2:51: address "255.255.255.255": want ...`, `2:70: address "240.0.0.1": want ...`, `2:83: address "::1": want ...`}},
		{"network that hides the Internet", "[host.a]\naddress = \"192.0.2.7\"\n[nat.n]\nprofile = \"cone\"\nlan = \"192.0.2.0/24\"\n[host.b]\nbehind = \"n\"\n",
			[]string{`5:7: the network 192.0.2.0/24 behind n has the address 192.0.2.7 of a on it, which is outside: want another network`}},
		{"network of both sides", "[nat.n]\nprofile = \"cone\"\nlan = \"10.0.0.0/24\"\n[nat.m]\nprofile = \"cone\"\nbehind = \"n\"\nlan = \"10.0.0.0/24\"\n[host.a]\nbehind = \"m\"\n",
			[]string{`7:7: the network 10.0.0.0/24 behind m has the address 10.0.0.2 of m on it, which is outside: want another network`}},
		{"keys of a line without effect", "[host.a]\nlink = { burst = 4, queue = 3, hold = \"1s\", target = \"1ms\", interval = \"1s\" }\n[host.b]\nlink.burst = 2\n[[event]]\nat = \"1s\"\nlink = \"b\"\nset.loss = 0.1\n", []string{
			`2:10: burst does nothing without loss: want both`, `2:21: queue does nothing without rate: want both`,
			`2:32: hold does nothing without reorder: want both`, `2:45: target does nothing without codel: want both`,
			`2:61: interval does nothing without codel: want both`}},
		{"bad address", "[host.a]\naddress = [\"203.0.113.1\", \"ff02::1\", \"fe80::1\", \"x\"]\n", []string{
			`2:27: address "ff02::1": want the IPv4 or IPv6 address of one host, such as "192.0.2.1" or "2001:db8::1"`,
			`2:38: address "fe80::1": want ...`, `2:49: address "x": want ...`}},
		{"external IPv6", "[host.a]\n[nat.n]\nprofile = \"cone\"\nexternal = \"2001:db8::1\"\n",
			[]string{`4:12: external "2001:db8::1": want the IPv4 address of one host, such as "192.0.2.1"`}},
		{"unknown igd", "[host.a]\n[nat.n]\nprofile = \"cone\"\nigd = \"bogus\"\n",
			[]string{`4:7: no such mapping router: "bogus": want miniupnpd, ...`}},
		{"igd without translation", "[host.a]\n[nat.n]\nprofile = \"none\"\nigd = \"miniupnpd\"\n",
			[]string{`4:7: n does not translate: want no igd`}},
		{"bad prefix", "[host.a]\n[nat.n]\nprofile = \"cone\"\nprefix = \"2001:db8::/65\"\nfirewall6 = \"on\"\n",
			[]string{`4:10: prefix "2001:db8::/65": want an IPv6 network of 16 to 64 bits, such as "2001:db8:a::/64"`,
				`5:13: firewall6 = "on": want "default-deny" or "none"`}},
		{"firewall without IPv6", "[host.a]\n[nat.n]\nprofile = \"cone\"\nfirewall6 = \"none\"\n",
			[]string{`4:13: n has a firewall6 and no IPv6: want prefix too`}},
		{"overlapping prefixes", "[nat.n]\nprofile = \"cone\"\nprefix = \"2001:db8::/48\"\n[nat.m]\nprofile = \"cone\"\nprefix = \"2001:db8:0:1::/64\"\n[host.a]\n",
			[]string{`6:10: the prefix 2001:db8:0:1::/64 overlaps that of n (line 3): want another`}},
		{"same IPv6 address", "[host.a]\naddress = \"2001:db8::1\"\n[host.b]\naddress = \"2001:db8::1\"\n",
			[]string{`4:11: the address 2001:db8::1 is taken: it is of a (line 2); want another`}},
		{"IPv6 address of the gateway", "[nat.n]\nprofile = \"cone\"\nprefix = \"2001:db8::/64\"\n[host.a]\nbehind = \"n\"\naddress = \"2001:db8::1\"\n",
			[]string{`6:11: the address 2001:db8::1 is taken: it is the gateway of n (line 3); want another`}},
		{"IPv6 on another network", "[nat.n]\nprofile = \"cone\"\nprefix = \"2001:db8::/64\"\n[nat.m]\nprofile = \"cone\"\n[host.a]\nbehind = \"n\"\naddress = \"2001:db8:1::2\"\n" +
			"[host.b]\naddress = \"2001:db8::2\"\n[host.c]\nbehind = \"m\"\naddress = \"2001:db8:2::2\"\n",
			[]string{`8:11: 2001:db8:1::2 is not on the network of n: want one of 2001:db8::/64`,
				`10:11: 2001:db8::2 is on the network of n: want another one`,
				`13:11: c is behind m, which has no IPv6: want prefix there`}},
		{"IPv6 behind none", "[nat.n]\nprofile = \"cone\"\n[nat.m]\nprofile = \"cone\"\nbehind = \"n\"\nprefix = \"2001:db8::/64\"\n[host.a]\n",
			[]string{`6:10: m is behind n, which has no IPv6: want prefix there`}},
		{"IPv6 behind another", "[nat.n]\nprofile = \"cone\"\nprefix = \"2001:db8:1::/64\"\n[nat.m]\nprofile = \"cone\"\nbehind = \"n\"\nprefix = \"2001:db8:2::/64\"\n" +
			"[nat.o]\nprofile = \"cone\"\nbehind = \"n\"\nprefix = \"2001:db8:1::/56\"\n[host.a]\n",
			[]string{
				`7:10: the prefix 2001:db8:2::/64 is not on the network of n: want a part of 2001:db8:1::/64`,
				`11:10: the prefix 2001:db8:1::/56 is not on the network of n: want a part of 2001:db8:1::/64`}},
		{"no IPv6 address left", "[nat.n]\nprofile = \"cone\"\nprefix = \"2001:db8::/56\"\n[nat.m]\nprofile = \"cone\"\nbehind = \"n\"\nprefix = \"2001:db8::/64\"\n[host.a]\nbehind = \"n\"\n",
			[]string{`8:7: no IPv6 address for a at the beginning of 2001:db8::/56: want address`}},
		{"ping over IPv6 without it", small + "[program.p]\nhost = \"a\"\nrun = \"udp-ping\"\nto = \"b\"\nfamily = 6\n",
			[]string{`11:10: a has no IPv6 address: want address there, or prefix at its NAT`, `11:10: b has no IPv6 address: want address there, or prefix at its NAT`}},
		{"same address", "[host.a]\naddress = \"203.0.113.1\"\n[host.b]\naddress = \"203.0.113.1\"\n",
			[]string{`4:11: the address 203.0.113.1 is taken: it is of a (line 2); want another`}},
		{"address of the gateway", "[nat.n]\nprofile = \"cone\"\n[host.a]\nbehind = \"n\"\naddress = \"192.168.1.1\"\n",
			[]string{`5:11: the address 192.168.1.1 is taken: it is the gateway of n (line 1); want another`}},
		{"another network", "[nat.n]\nprofile = \"cone\"\nlan = \"10.0.0.0/24\"\n[host.a]\nbehind = \"n\"\naddress = \"10.0.1.2\"\n",
			[]string{`6:11: 10.0.1.2 is not on the network of n: want one of 10.0.0.0/24`}},
		{"two addresses behind a NAT", "[nat.n]\nprofile = \"cone\"\n[host.a]\nbehind = \"n\"\naddress = [\"192.168.1.2\", \"192.168.1.3\"]\n",
			[]string{`5:27: a has 2 addresses: want one of IPv4 behind a NAT`}},
		{"external without translation", "[host.a]\n[nat.n]\nprofile = \"none\"\nexternal = \"198.51.100.1\"\n",
			[]string{`4:12: n does not translate: want no external address`}},
		{"program without a host", small + "[program.p]\nrun = \"udp-echo\"\n", []string{`7:10: host is missing: want the host that it runs on`}},
		{"unknown program", small + "[program.p]\nhost = \"a\"\nrun = \"udp-pong\"\n",
			[]string{`9:7: no program of ours is called "udp-pong": want teredo-server, teredo-client, teredo-ping, udp-echo, udp-ping, port-map; exec runs other programs`}},
		{"program on a NAT", small + "[program.p]\nhost = \"n\"\nrun = \"udp-echo\"\n", []string{`8:8: host = "n" is no host of this file: want a, b, c`}},
		{"run and exec", small + "[program.p]\nhost = \"a\"\nrun = \"udp-echo\"\nexec = [\"true\"]\n", []string{`10:1: p has both run and exec: want one of them`}},
		{"neither", small + "[program.p]\nhost = \"a\"\n", []string{`7:10: run or exec is missing: want run = one of our own programs, or exec = a command and its arguments`}},
		{"exec without a program", small + "[program.p]\nhost = \"a\"\nexec = []\n", []string{`9:1: exec names no program: want ["program", "argument", ...]`}},
		{"exec of numbers", small + "[program.p]\nhost = \"a\"\nexec = [\"sleep\", 1]\n", []string{`9:18: exec is an integer: want a list of strings`}},
		{"bad port", small + "[program.p]\nhost = \"a\"\nexec = [\"x\"]\nlistens = \"80\"\n", []string{`10:11: listens = "80": want a port such as "tcp/80" or "udp/53"`}},
		{"key of another program", small + "[program.p]\nhost = \"a\"\nrun = \"udp-echo\"\ncount = 3\n", []string{`10:1: unknown key "count": want host, start, after, run, exec, port`}},
		{"port-map without a port", small + "[nat.gate]\nprofile = \"cone\"\nigd = \"miniupnpd\"\n[host.in]\nbehind = \"gate\"\n[program.p]\nhost = \"in\"\nrun = \"port-map\"\n[program.q]\nhost = \"in\"\nrun = \"port-map\"\nport = 7\n",
			[]string{`12:10: port is missing: want a UDP port of the host, from 1024`, `18:8: port = 7: want 1024 to 65535`}},
		{"port-map without a NAT", small + "[program.p]\nhost = \"a\"\nrun = \"port-map\"\nport = 5000\n", []string{`8:8: a is behind no NAT that opens ports: want igd there`}},
		{"ping to a NAT without an address", small + "[nat.x]\nprofile = \"none\"\n[program.p]\nhost = \"a\"\nrun = \"udp-ping\"\nto = \"x\"\n", []string{`12:6: x does not translate, and so has no address to ping: want a host`}},
		{"client without a server", small + "[program.p]\nhost = \"a\"\nrun = \"teredo-client\"\nserver = \"b\"\n", []string{`10:10: no program on b is a teredo-server: want one there`}},
		{"ping without a client", small + "[program.s]\nhost = \"a\"\nrun = \"teredo-server\"\n[program.p]\nhost = \"c\"\nrun = \"teredo-ping\"\nserver = \"a\"\nto = \"b\"\n",
			[]string{`14:6: no program on b is a teredo-client: want one there`}},
		{"ping of itself", small + "[program.p]\nhost = \"a\"\nrun = \"udp-ping\"\nto = \"a\"\n", []string{`10:6: p pings its own host: want another one`}},
		{"waits for itself", small + "[program.p]\nhost = \"a\"\nrun = \"udp-echo\"\nafter = \"q\"\n[program.q]\nhost = \"a\"\nexec = [\"x\"]\nafter = \"p\"\n",
			[]string{`10:9: p waits for itself (p after q after p): want a chain that ends`}},
		{"waits for a ring", small + "[program.o]\nhost = \"b\"\nrun = \"udp-echo\"\nafter = \"p\"\n[program.p]\nhost = \"a\"\nrun = \"udp-echo\"\nafter = \"p\"\n",
			[]string{`14:9: p waits for itself (p after p): want a chain that ends`}},
		{"command in one string", small + "[program.p]\nhost = \"a\"\nexec = \"curl http://b/\"\n", []string{`9:8: exec = "curl http://b/": no shell takes it apart: want ["program", "argument", ...]`}},
		{"port taken", small + "[program.p]\nhost = \"a\"\nrun = \"teredo-server\"\n[program.q]\nhost = \"a\"\nrun = \"udp-echo\"\nport = 3544\n",
			[]string{`10:10: the UDP port 3544 of a is taken: p has it (line 7); want another port or host`}},
		{"after the end", small + "[program.p]\nhost = \"a\"\nrun = \"udp-echo\"\nstart = \"60s\"\n[[event]]\nat = \"2m\"\nunplug = \"a\"\n[program.q]\nhost = \"b\"\nrun = \"udp-ping\"\nto = \"a\"\n[[expect]]\nreachable = \"a\"\nfrom = \"b\"\nsince = \"50s\"\nwithin = \"11s\"\n", []string{
			`10:9: start = 1m0s, and the run is over at 1m0s: want an earlier time, or a later limit`,
			`12:6: at = 2m0s, and the run is over at 1m0s: want an earlier time, or a later limit`,
			`22:10: within 11s, which is until 1m1s, and the run is over at 1m0s: want less time, or a later limit`}},
		{"replug of what is plugged", small + "[[event]]\nat = \"2s\"\nunplug = \"a\"\n[[event]]\nat = \"1s\"\nreplug = \"a\"\n[[event]]\nat = \"3s\"\nreplug = \"a\"\n",
			[]string{`12:10: a is not unplugged then: want an event before that unplugs it`}},
		{"after nothing", small + "[program.p]\nhost = \"a\"\nrun = \"udp-echo\"\nafter = \"q\"\n", []string{`10:9: after = "q" is no program of this file: want p`}},
		{"event on an unknown node", small + "[[event]]\nat = \"1s\"\nreboot = \"m\"\n", []string{`9:10: reboot = "m" is no NAT of this file: want n`}},
		{"reboot of a host", small + "[[event]]\nat = \"1s\"\nreboot = \"a\"\n", []string{`9:10: reboot = "a" is no NAT of this file: want n`}},
		{"event without a time", small + "[[event]]\nunplug = \"a\"\n", []string{`7:3: at is missing: want the time of the event`}},
		{"event that does nothing", small + "[[event]]\nat = \"1s\"\n", []string{`7:3: the event does nothing: want one of the keys reboot, readdress, unplug, replug, link`}},
		{"event that does two things", small + "[[event]]\nat = \"1s\"\nreboot = \"n\"\nunplug = \"n\"\n",
			[]string{`10:1: an event does one thing, and this is the second: want another [[event]]`}},
		{"until before at", small + "[[event]]\nat = \"2s\"\nuntil = \"1s\"\nunplug = \"a\"\n", []string{`9:9: until = 1s is not after at = 2s: want a later time`}},
		{"change of nothing", small + "[[event]]\nat = \"2s\"\nlink = \"a\"\n", []string{`7:3: set is missing: want what of the line changes, such as { loss = 0.3 }`}},
		{"new address is taken", small + "[[event]]\nat = \"2s\"\nreaddress = \"n\"\nto = \"203.0.113.1\"\n", []string{`10:6: the address 203.0.113.1 is taken: it is of a; want another`}},
		{"expectation of nothing", small + "[[expect]]\nwithin = \"1s\"\n", []string{`7:3: an expectation is about one thing: want one of the keys program, qualified, reachable, dropped`}},
		{"nothing expected of a program", small + "[program.p]\nhost = \"a\"\nexec = [\"x\"]\n[[expect]]\nprogram = \"p\"\n",
			[]string{`10:3: nothing is expected of the program: want one of the keys exit, answers, lost, latency_min, latency_max, median_min, median_max, output`}},
		{"exit of a service", small + "[program.p]\nhost = \"a\"\nrun = \"udp-echo\"\n[[expect]]\nprogram = \"p\"\nexit = 0\n", []string{`12:1: p does not end by itself: want no exit code`}},
		{"answers to no ping", small + "[program.p]\nhost = \"a\"\nexec = [\"x\"]\n[[expect]]\nprogram = \"p\"\nanswers = 1\n", []string{`10:3: p is no ping: want no answers, lost packets or times`}},
		{"unknown reason", small + "[[expect]]\ndropped = \"bad luck\"\n", []string{`8:11: no packet is ever dropped with the reason "bad luck": want words of one that shipworm testnet list --drops has, ...`}},
		{"max below min", small + "[[expect]]\ndropped = \"lost\"\nmin = 2\nmax = 1\n", []string{`10:7: max = 1 is below min = 2: want no less than that`}},
		{"nobody pings", small + "[[expect]]\nreachable = \"a\"\nfrom = \"c\"\nwithin = \"1s\"\n", []string{`7:3: no program on c pings a: want a teredo-ping or udp-ping`}},
		{"bad mapping", small + "[[expect]]\nqualified = \"a\"\nwithin = \"1s\"\nmapped = \"m\"\n", []string{
			`8:13: no program on a is a teredo-client: want one there`,
			`10:10: mapped = "m": want a NAT, an IPv4 address, or one with a port; NATs are n`}},
		{"columns are characters", "[host.a]\nlink = { \"ü\" = 1, x = 2 }\n", []string{
			`2:10: unknown key "ü": want delay, jitter, loss, burst, reorder, hold, duplicate, corrupt, rate, queue, codel, target, interval, mtu`,
			`2:19: unknown key "x": want delay, jitter, loss, burst, reorder, hold, duplicate, corrupt, rate, queue, codel, target, interval, mtu`}},
		{"several", "[host.a]\nlink = { loss = 2 }\nfoo = 1\n[nat.x]\nprofile = \"y\"\n[[event]]\nat = \"soon\"\nunplug = \"z\"\n", []string{
			`2:17: loss = 2: want a share such as 0.015 or "1.5%"`,
			`3:1: unknown key "foo": want behind, link, address`,
			`5:11: no such NAT: "y": ` + natNames + "...",
			`7:6: at "soon": want a time such as "250ms", "30s" or "1h30m"`,
			`8:10: unplug = "z" is no host or NAT of this file: want a, x`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Parse([]byte(tt.file))
			var bad *FileError
			if s != nil || !errors.As(err, &bad) {
				t.Fatalf("Parse = %v, %v, want a FileError", s, err)
			}
			var got []string
			for _, p := range bad.Problems {
				got = append(got, p.String())
			}
			slices.Sort(got)
			slices.Sort(tt.want)
			if len(got) == len(tt.want) {
				for i, w := range tt.want { // long lists may be cut short
					if head, ok := strings.CutSuffix(w, "..."); ok && strings.HasPrefix(got[i], head) {
						got[i] = w
					}
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// Problems come in the order of the file, one a line.
func TestFileErrorOrder(t *testing.T) {
	_, err := Parse([]byte("[host.a]\nx = 1\ny = 2\n[nat.n]\nprofile = 1\n"))
	want := "2:1: unknown key \"x\": want behind, link, address\n3:1: unknown key \"y\": want behind, link, address\n5:11: profile is an integer: want a string"
	if err == nil || err.Error() != want {
		t.Errorf("error:\n%v\nwant:\n%s", err, want)
	}
}

// Whatever has no address gets one, which is that of nobody else.
func TestAddresses(t *testing.T) {
	s, err := Parse([]byte(`
[host.web]
[host.dns]
address = "203.0.113.1"
[nat.carrier]
profile = "carrier"
[nat.home]
profile = "cone"
behind = "carrier"
[nat.office]
profile = "firewall"
[host.pc]
behind = "home"
[host.tv]
behind = "home"
address = "192.168.1.2"
[host.neighbour]
behind = "carrier"
[host.desk]
behind = "office"
`))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, n := range s.Nodes {
		got[n.Name] = fmt.Sprint(n.Addrs)
		if n.IsNAT() {
			got[n.Name] += " " + n.Lan.String()
		}
	}
	want := map[string]string{
		"web": "[203.0.113.2]", "dns": "[203.0.113.1]",
		"carrier": "[198.51.100.1] 100.64.1.0/24", "home": "[100.64.1.2] 192.168.1.0/24", "office": "[] 198.18.1.0/24",
		"pc": "[192.168.1.3]", "tv": "[192.168.1.2]", "neighbour": "[100.64.1.3]", "desk": "[198.18.1.2]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
}

// Every knob of a line and of a NAT reaches it.
func TestKnobs(t *testing.T) {
	s, err := Parse([]byte(`
[host.a]
link = { delay = "20ms", jitter = "1ms", loss = "1.5%", burst = 2.5, reorder = 0.1, hold = "3ms", duplicate = 0.2, rate = 1_000_000, queue = 10000, mtu = 1400 }
[nat.n]
profile = "cone"
external = ["198.51.100.7", "198.51.100.8"]
[nat.n.knobs]
mapping = "address-dependent"
filtering = "address-and-port-dependent"
hairpin = "none"
lifetime = "42s"
block_ports = [137, 0x8a]
host_limits = { udp = 20 }
reject = true
`))
	if err != nil {
		t.Fatal(err)
	}
	a, n := s.Nodes[0], s.Nodes[1]
	if l := a.Line; l.Delay != 20*time.Millisecond || l.Jitter != time.Millisecond || l.Loss != 0.015 || l.Burst != 2.5 || l.Reorder != 0.1 ||
		l.Hold != 3*time.Millisecond || l.Duplicate != 0.2 || l.Rate != 1_000_000 || l.Queue != 10000 || l.MTU != 1400 {
		t.Errorf("line %+v", l)
	}
	want := []netip.Addr{netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("198.51.100.8")}
	if c := n.NAT; c.Mapping != nat.AddressDependent || c.Filtering != nat.AddressAndPortDependent || c.Hairpin != nat.HairpinNone ||
		c.Lifetime != 42*time.Second || !slices.Equal(c.BlockPorts, []uint16{137, 138}) || c.HostLimits.UDP != 20 || !c.Reject || !slices.Equal(c.External, want) {
		t.Errorf("NAT %+v", c)
	}
}

// A profile file is found next to the scenario, whatever the directory of the
// process, and knobs go on top of it.
func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	router := nat.Config{External: []netip.Addr{netip.MustParseAddr("192.0.2.9")}, Filtering: nat.AddressDependent, Lifetime: 17 * time.Second, Seed: 5}
	b, err := router.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	write("router.json", string(b))
	write("home.toml", "[host.a]\n[nat.n]\nfile = \"router.json\"\nknobs = { reject = true }\n")
	s, err := Load(filepath.Join(dir, "home.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if c := s.Nodes[1].NAT; c.Filtering != nat.AddressDependent || c.Lifetime != 17*time.Second || !c.Reject || c.Seed != 0 || c.External[0].String() != "198.51.100.1" {
		t.Errorf("NAT %+v", c)
	}
	write("bad.toml", "[host.a]\n[nat.n]\nfile = \"gone.json\"\n")
	var bad *FileError
	if _, err := Load(filepath.Join(dir, "bad.toml")); !errors.As(err, &bad) || bad.Problems[0].Line != 3 || !strings.Contains(err.Error(), "gone.json") {
		t.Errorf("Load = %v, want a problem of line 3", err)
	}
	if _, err := Load(filepath.Join(dir, "gone.toml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Load = %v, want %v", err, os.ErrNotExist)
	}
	write("folder.toml", "[host.a]\n[nat.n]\nfile = \".\"\n")
	if _, err := Load(filepath.Join(dir, "folder.toml")); err == nil || !strings.HasPrefix(err.Error(), "3:8: ") || !strings.HasSuffix(err.Error(), "is a folder: want a profile file, its path relative to the scenario's folder") {
		t.Errorf("Load = %v", err)
	}
	if _, err := Load(dir); err == nil || err.Error() != "1:1: this is a folder: want a file in TOML" {
		t.Errorf("Load of a folder = %v", err)
	}
}

// Programs that this machine does not have are named with their place, all at
// once, before anything is built.
func TestInstalled(t *testing.T) {
	s, err := Parse([]byte(small + "[program.p]\nhost = \"a\"\nexec = [\"no-such-program-1\"]\n[program.q]\nhost = \"a\"\nexec = [\"no-such-program-2\", \"x\"]\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := `9:1: there is no program "no-such-program-1" on this machine: want one that is installed, or its path
12:1: there is no program "no-such-program-2" on this machine: want one that is installed, or its path`
	if err := s.Installed(); err == nil || err.Error() != want {
		t.Errorf("Installed = %v\nwant %s", err, want)
	}
}

// Every knob of the engine can be named.
func TestKnobNames(t *testing.T) {
	names := knobNames()
	if n := reflect.TypeFor[nat.Config]().NumField() - 2; len(names) != n {
		t.Errorf("%d names for %d knobs: %v", len(names), n, names)
	}
}

// The reasons that expectations may name are those that packets are dropped
// with.
func TestReasons(t *testing.T) {
	src, err := filepath.Glob("../sim/*.go")
	if err != nil || len(src) == 0 {
		t.Fatal("no source of testnet/sim", err)
	}
	found := 0
	for _, path := range src {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^\s*reason\w+\s+= "(.+)"`).FindAllSubmatch(b, -1) {
			found++
			if !slices.Contains(DropReasons(), string(m[1])) {
				t.Errorf("testnet/sim has the reason %q, expectations do not", m[1])
			}
		}
	}
	if found < 5 {
		t.Errorf("only %d reasons found in testnet/sim", found)
	}
}

// Parse never panics, and says of every bad file where it is bad.
func FuzzParse(f *testing.F) {
	f.Add([]byte(small))
	files, _ := filepath.Glob("../../docs/scenarios/*.toml")
	for _, path := range files {
		if b, err := os.ReadFile(path); err == nil {
			f.Add(b)
		}
	}
	f.Add([]byte("host = [{}, {a.b = 1}]\nnat = {n = {profile = \"cone\"}}\n[[event]]\nlink = {}\n"))
	f.Add([]byte("[[host.a]]\n[host.a.link]\n[nat.n.knobs]\n[program]\nx = []\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		s, err := Parse(src)
		if (s == nil) == (err == nil) {
			t.Fatalf("Parse = %v, %v", s, err)
		}
		var bad *FileError
		if err != nil && (!errors.As(err, &bad) || len(bad.Problems) == 0) {
			t.Fatalf("error %v, want a FileError with problems", err)
		}
		if bad != nil {
			for _, p := range bad.Problems {
				if p.Line < 1 || p.Column < 1 || p.Message == "" || p.Line > 1+strings.Count(string(src), "\n") {
					t.Fatalf("problem %+v", p)
				}
			}
		}
	})
}
