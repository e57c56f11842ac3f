package nat

import (
	"math/bits"

	"shipworm/testnet/internal/ipv4"
)

// A block is a range of ports of one external address that belongs to one
// inside host, for TCP and UDP ports and ICMP identifiers alike.
type block struct {
	external int
	number   int
}

// blocksPerAddress is how many blocks fit into one external address.
func (n *NAT) blocksPerAddress() int {
	lo, hi := n.cfg.dynamicRange()
	return (int(hi) - int(lo) + 1) / int(n.cfg.PortBlock)
}

// ports is the range of a block, both ends included.
func (n *NAT) ports(b block) (lo, hi uint32) {
	first, _ := n.cfg.dynamicRange()
	lo = uint32(first) + uint32(b.number)*uint32(n.cfg.PortBlock)
	return lo, lo + uint32(n.cfg.PortBlock) - 1
}

// allocateInBlocks picks a free port in the host's blocks, taking another
// block if they are full and it may have one.
func (n *NAT) allocateInBlocks(f *flow, h *host) (endpoint, Reason) {
	for i := 0; ; i++ {
		if i == len(h.blocks) {
			if why := n.takeBlock(f.src.addr, h); why != NewMapping {
				return endpoint{}, why
			}
		}
		b := h.blocks[i]
		lo, hi := n.ports(b)
		addr := n.external[b.external]
		if port, ok := n.port(addr, f, lo, hi); ok {
			return endpoint{addr, port}, NewMapping
		}
	}
}

// takeBlock gives a host one more block: the one computed from its address
// (RFC 7422), or the first that is free on its external address.
func (n *NAT) takeBlock(addr uint32, h *host) Reason {
	if len(h.blocks) >= n.cfg.MaxBlocks {
		return PortsExhausted
	}
	per := n.blocksPerAddress()
	if n.cfg.Subscribers.IsValid() {
		if !n.cfg.Subscribers.Contains(ipv4.Addr(addr)) {
			return NotSubscriber
		}
		base, _ := ipv4.Number(n.cfg.Subscribers.Masked().Addr())
		i := int(addr - base)
		if i/per >= len(n.external) {
			return PortsExhausted
		}
		h.external = i / per
		h.blocks = append(h.blocks, block{i / per, i % per})
		return NewMapping
	}
	if n.used == nil {
		n.used = make([][]uint64, len(n.external))
	}
	used := n.used[h.external]
	if used == nil {
		used = make([]uint64, (per+63)/64)
		n.used[h.external] = used
	}
	for w, set := range used {
		if b := bits.TrailingZeros64(^set); b < 64 && w*64+b < per {
			used[w] |= 1 << b
			h.blocks = append(h.blocks, block{h.external, w*64 + b})
			return NewMapping
		}
	}
	return PortsExhausted
}

// freeBlocks gives a host's blocks back.
func (n *NAT) freeBlocks(h *host) {
	if !n.cfg.Subscribers.IsValid() {
		for _, b := range h.blocks {
			n.used[b.external][b.number/64] &^= 1 << (b.number % 64)
		}
	}
	h.blocks = nil
}
