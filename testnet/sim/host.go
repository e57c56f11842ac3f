package sim

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"shipworm/testnet/internal/ip"
	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/internal/ipv6"
	"shipworm/testnet/link"
)

// A Host is an end of the network, with one or several addresses.
type Host struct {
	// Receive takes every packet for this host that no bound UDP port took,
	// or nil. pkt is valid during the call and may be changed. It runs inside
	// Advance: it may send, bind and call At, but not Advance or Do.
	Receive func(now time.Time, pkt []byte)

	world  *World
	name   string
	line   *line
	addrs  []netip.Addr
	ports  map[netip.AddrPort]*UDPPort
	nextID uint16 // of IPv4 headers
	port   uint16 // last one picked for port 0
	spare  []byte // to build packets in
	pieces pieces // of fragmented datagrams
}

// Host puts a host on the Internet. The line's configuration holds for each
// direction.
func (w *World) Host(name string, l link.Config, addrs ...netip.Addr) (*Host, error) {
	return w.newHost(name, l, w.internet, addrs)
}

func (w *World) newHost(name string, c link.Config, net *network, addrs []netip.Addr) (*Host, error) {
	if len(addrs) == 0 {
		return nil, fmt.Errorf("sim: host %s: no address", name)
	}
	h := &Host{world: w, name: name, addrs: slices.Clone(addrs), ports: make(map[netip.AddrPort]*UDPPort), port: firstPort - 1}
	l, err := w.newLine(name, c, net, h)
	if err != nil {
		return nil, err
	}
	if err := w.claim(name); err != nil {
		return nil, err
	}
	if err := net.join(l, addrs...); err != nil {
		delete(w.names, name)
		return nil, fmt.Errorf("sim: host %s %v: %w", name, addrs, err)
	}
	h.line = l
	net.lines = append(net.lines, l)
	return h, nil
}

// Name returns the host's name.
func (h *Host) Name() string { return h.name }

// Addr returns the host's first address.
func (h *Host) Addr() netip.Addr { return h.addrs[0] }

// Addrs returns a copy of the host's addresses.
func (h *Host) Addrs() []netip.Addr { return slices.Clone(h.addrs) }

// AddAddr gives the host one more address.
func (h *Host) AddAddr(a netip.Addr) error {
	if err := h.line.net.join(h.line, a); err != nil {
		return fmt.Errorf("sim: host %s %v: %w", h.name, a, err)
	}
	h.addrs = append(h.addrs, a)
	return nil
}

// RemoveAddr takes an address away; packets to it are dropped from now on. The
// last one cannot be removed.
func (h *Host) RemoveAddr(a netip.Addr) error {
	i := slices.Index(h.addrs, a)
	if i < 0 || len(h.addrs) == 1 {
		return errors.New("sim: not an address of this host, or its last one")
	}
	h.addrs = slices.Delete(h.addrs, i, i+1)
	h.line.net.leave(a)
	return nil
}

// SetLink changes the host's line; packets on it are not affected.
func (h *Host) SetLink(c link.Config) error { return h.line.setLink(c) }

// Send sends an IPv4 or IPv6 packet at the world's time. It is copied once, so pkt may
// be reused. Nothing about it is checked before the network does, so that a
// test can send anything, forged sources included.
func (h *Host) Send(pkt []byte) {
	w := h.world
	w.stats.Sent++
	p := w.emit(h.name, pkt)
	if !h.line.send(p, true) {
		h.tooBig(p)
	}
}

// SendForged is Send for adversaries: the packet counts as forged wherever it
// goes, so that invariants do not blame the network for it.
func (h *Host) SendForged(pkt []byte) {
	w := h.world
	w.stats.Sent++
	w.stats.Forged++
	p := w.buffers.copy(pkt)
	w.number(p)
	p.forged = true
	w.note(h.name, Forged, "sent by an adversary", p)
	if !h.line.send(p, true) {
		w.drop(h.line.upName, p, reasonTooBig)
	}
}

// arrive delivers a packet to a UDP port or to Receive. Without a port, as in a
// laboratory whose hosts have kernels, fragments are the receiver's business.
func (h *Host) arrive(p *buffer) {
	w := h.world
	if ip.Is6(p.b) {
		h.arrive6(p)
		return
	}
	pkt, header, ok := ipv4.Check(p.b)
	if !ok {
		w.drop(h.name, p, reasonMalformed)
		return
	}
	p.b = pkt
	if ipv4.Fragment(pkt) && len(h.ports) > 0 {
		whole := h.pieces.add(h, p.id, pkt, header)
		if whole == nil {
			w.buffers.release(p)
			return
		}
		last := p
		p = w.buffers.twin(last, whole)
		w.buffers.release(last)
		pkt, header, _ = ipv4.Check(p.b)
	}
	u := h.lookup(pkt, header)
	// RFC 1122, 4.1.3.4: a datagram with a wrong checksum is dropped. Where
	// Receive is a kernel, that judges what is not for a port here.
	if (u != nil || h.Receive == nil) && ipv4.Proto(pkt) == ipv4.UDP && !ipv4.TransportOK(pkt, header) {
		w.drop(h.name, p, reasonChecksum)
		return
	}
	if u == nil {
		h.take(p, pkt)
		return
	}
	w.deliver(h.name, p)
	body := pkt[header:]
	from := netip.AddrPortFrom(ipv4.Addr(ipv4.Src(pkt)), be.Uint16(body))
	u.recv(w.Now(), from, body[8:be.Uint16(body[4:])])
	w.buffers.release(p)
}

// arrive6 is arrive for IPv6. Fragments are Receive's business.
func (h *Host) arrive6(p *buffer) {
	w := h.world
	pkt, ok := ipv6.Check(p.b)
	if !ok {
		w.drop(h.name, p, reasonMalformed6)
		return
	}
	p.b = pkt
	l4, ok := ipv6.Find(pkt)
	if !ok || l4.Proto != ipv4.UDP || l4.Piece || len(pkt) < l4.At+8 {
		h.take(p, pkt)
		return
	}
	body := pkt[l4.At:]
	dst := netip.AddrPortFrom(ipv6.Dst(pkt), be.Uint16(body[2:]))
	u := h.ports[dst]
	if u == nil {
		u = h.ports[netip.AddrPortFrom(anyAddr, dst.Port())]
	}
	switch {
	case (u != nil || h.Receive == nil) && !ipv6.TransportOK(pkt): // RFC 8200, 8.1
		w.drop(h.name, p, reasonChecksum)
	case u == nil:
		h.take(p, pkt)
	default:
		w.deliver(h.name, p)
		u.recv(w.Now(), netip.AddrPortFrom(ipv6.Src(pkt), be.Uint16(body)), body[8:])
		w.buffers.release(p)
	}
}

// take hands a packet that is for no port to Receive.
func (h *Host) take(p *buffer, pkt []byte) {
	w := h.world
	if h.Receive == nil {
		w.drop(h.name, p, reasonNoPort)
		return
	}
	w.deliver(h.name, p)
	h.Receive(w.Now(), pkt)
	w.buffers.release(p)
}

func (w *World) deliver(node string, p *buffer) {
	w.stats.Delivered++
	w.note(node, Delivered, "", p)
}
