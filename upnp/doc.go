// Package upnp opens a port of this host to the Internet, by asking the router
// in the ways that routers understand: PCP (RFC 6887), NAT-PMP (RFC 6886) and
// the UPnP Internet Gateway Device, versions 1 and 2. A [Mapper] tries all of
// them together and takes the first good answer; on IPv6 it opens pinholes.
//
// Mappings are leases: they are renewed at half their time, made again when the
// router says that it has restarted, and removed at the end. What could not be
// removed, because the process was killed, is found in a journal and removed
// at the next start.
//
// The LAN counts as hostile. A description is only fetched from the very host
// that announced it, on the link; every answer is bounded in size and time;
// nobody can make the Mapper connect elsewhere, listen for connections or
// touch a mapping that is not its own. On a public network nothing is sent.
//
// Left out: eventing (GENA), mappings for other hosts or for remote peers only,
// port ranges, PCP PEER, and routers other than the default one for PCP.
//
//	m, err := upnp.New(upnp.Config{Journal: dir})
//	if err != nil {
//		return err
//	}
//	conn, err := net.ListenUDP("udp4", nil)
//	...
//	err = m.Keep(ctx, upnp.Request{
//		Protocol: upnp.UDP,
//		Internal: conn.LocalAddr().(*net.UDPAddr).AddrPort(),
//	}, func(now upnp.Mapping) {
//		fmt.Println("reachable at", now.External)
//	})
package upnp
