package trace

import (
	"io"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// longest bounds a comment in bytes; an option of pcapng has 16 bits for it.
const longest = 1000

// WritePcapng writes all packets as one pcapng file with an interface for each
// line, named after its host or router. Times are exact to the nanosecond; the
// comment is Packet.Comment, the direction is the one that the node sees, and
// the packet id (epb_packetid) is the journey: the same on all lines. Wireshark
// takes a TCP segment that it sees on several lines for retransmissions; filter
// by frame.interface_name, or use SaveLines.
func (r *Recorder) WritePcapng(w io.Writer) error { return r.Trace(Filter{}).WritePcapng(w) }

// WritePcapng is WritePcapng of Recorder for a filtered trace.
func (t *Trace) WritePcapng(w io.Writer) error { return t.pcapng(w, t.Lines()) }

// WritePcapngLine writes the packets of one line as a pcapng file.
func (t *Trace) WritePcapngLine(w io.Writer, line string) error {
	return t.pcapng(w, []string{line})
}

// Lines returns the names of the hosts and routers on whose lines there were
// packets, in the order of Nodes.
func (t *Trace) Lines() []string {
	has := make(map[string]bool)
	for i := range t.Packets {
		has[t.Packets[i].Line] = true
	}
	var lines []string
	for _, n := range t.Nodes {
		if has[n] {
			lines = append(lines, n)
		}
	}
	return lines
}

func (t *Trace) pcapng(w io.Writer, lines []string) error {
	if len(lines) == 0 {
		lines = []string{"none"} // the library cannot do without
	}
	about := pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{
		Application: "shipworm testnet", Comment: t.about(),
	}}
	out, err := pcapgo.NewNgWriterInterface(w, interfaceOf(lines[0]), about)
	if err != nil {
		return err
	}
	index := map[string]int{lines[0]: 0}
	for _, l := range lines[1:] {
		if index[l], err = out.AddInterface(interfaceOf(l)); err != nil {
			return err
		}
	}
	for i := range t.Packets {
		p := &t.Packets[i]
		n, ok := index[p.Line]
		if !ok {
			continue
		}
		direction := pcapgo.NgEpbFlagDirectionInbound
		if p.Up {
			direction = pcapgo.NgEpbFlagDirectionOutbound
		}
		err := out.WritePacketWithOptions(
			gopacket.CaptureInfo{Timestamp: p.Time, CaptureLength: len(p.Data), Length: len(p.Data), InterfaceIndex: n},
			p.Data,
			pcapgo.NgPacketOptions{
				Comments: []string{shorten(p.Comment(), longest)},
				Flags:    &pcapgo.NgEpbFlags{Direction: pcapgo.NgEpbFlag(direction)},
				PacketID: &p.Journey,
			})
		if err != nil {
			return err
		}
	}
	return out.Flush()
}

func interfaceOf(line string) pcapgo.NgInterface {
	name := shorten(clean(line), longest)
	return pcapgo.NgInterface{Name: name, Description: "line of " + name, LinkType: layers.LinkTypeRaw, TimestampResolution: 9}
}
