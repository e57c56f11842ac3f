// Package natprobe finds out what stands between this host and the Internet
// and how it treats UDP, in the words of RFC 4787: whether addresses are
// translated, on what the mapping and the filter depend, how ports are chosen,
// how long mappings live, and more. It asks STUN servers as RFC 5780 and RFC
// 3489 have it; with two servers that know neither it still names the mapping.
//
// What a probe does not see it calls unknown: a server that does not send from
// where it is asked to, an alternate address that cannot be heard, too much
// loss. Silence counts as filtering only after it was repeated, and after the
// same answer got through where the filter had been opened for it. The filter
// is examined on a socket of its own, before anything is sent to the server's
// other address, since each test would change the result of the other.
//
// A classification takes two round trips if the filter is open and six if not,
// and about twenty packets. A [Prober] sends at most [MaxPackets] a pass, the
// first [Burst] at once and [Rate] a second beyond.
//
// Left out: TCP and TLS as transports.
//
//	p, err := natprobe.New(natprobe.Config{Servers: []netip.AddrPort{server}})
//	if err != nil {
//		return err
//	}
//	r, err := p.Run(ctx)
//	if err != nil {
//		return err
//	}
//	fmt.Println(r.Mapping, r.Filtering) // "endpoint-independent address-dependent"
package natprobe
