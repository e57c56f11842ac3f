package udp

import "shipworm/teredo/packet"

// split returns pkts with every run taken apart into its datagrams, for systems
// that know none. It uses the memory of scratch, which the caller keeps, unless
// there is no run.
func split(pkts []packet.Packet, scratch *[]packet.Packet) []packet.Packet {
	some := false
	for i := range pkts {
		some = some || pkts[i].Segment > 0
	}
	if !some {
		return pkts
	}
	out := (*scratch)[:0]
	for i := range pkts {
		p := pkts[i]
		p.Segment = 0
		for size := pkts[i].Segment; size > 0 && p.Len > size; {
			one := p
			one.Len = size
			out = append(out, one)
			p.Off, p.Len = p.Off+size, p.Len-size
		}
		out = append(out, p)
	}
	*scratch = out
	return out
}
