package nat

import (
	"time"

	"shipworm/testnet/internal/ipv4"
)

// reject drops a packet that the inside did not ask for and, where the
// configuration says so, answers it.
func (n *NAT) reject(r Reason, pkt []byte, f *flow, now int64) Verdict {
	switch {
	case f.proto != protoTCP || n.cfg.UnsolicitedTCP == UnsolicitedAsUDP:
		v := n.drop(r)
		if n.cfg.Reject {
			v.Reply = n.answer(ipv4.CodePort, ipv4.Dst(pkt), pkt)
		}
		return v
	case n.cfg.UnsolicitedTCP == UnsolicitedReset:
		v := n.drop(r)
		n.reply = ipv4.AppendReset(n.reply[:0], pkt)
		if len(n.reply) > 0 {
			v.Reply = n.reply
		}
		return v
	case f.flags&(ipv4.SYN|ipv4.ACK|ipv4.RST) == ipv4.SYN && n.holdSYN(pkt, f, now):
		return n.drop(SYNHeld)
	}
	return n.drop(r)
}

// refuse drops a packet from the inside that can have no mapping, and says so
// where configured.
func (n *NAT) refuse(r Reason, pkt []byte) Verdict {
	v := n.drop(r)
	if n.cfg.Refusal == RefuseSilently || r < PortsExhausted {
		return v
	}
	code := byte(ipv4.CodeAdminBlocked)
	if n.cfg.Refusal == RefuseUnreachable {
		code = ipv4.CodeHost
	}
	from := ipv4.Dst(pkt)
	if len(n.external) > 0 {
		from = n.external[0]
	}
	v.Reply = n.answer(code, from, pkt)
	return v
}

// answer builds ICMP unreachable, or nil where RFC 1122 forbids one.
func (n *NAT) answer(code byte, from uint32, pkt []byte) []byte {
	n.reply = ipv4.AppendError(n.reply[:0], ipv4.Unreachable, code, 0, from, pkt)
	if len(n.reply) == 0 {
		return nil
	}
	return n.reply
}

// maxSYNs bounds the unsolicited SYNs that wait for their answer; those
// beyond are dropped silently (RFC 5382, 4.3, REQ-4a).
const maxSYNs = 256

// A pendingSYN is the head of an unsolicited SYN that waits for its answer.
type pendingSYN struct {
	due           int64
	local, remote endpoint
	pkt           []byte
}

func (n *NAT) holdSYN(pkt []byte, f *flow, now int64) bool {
	for _, s := range n.syns {
		if s.local == f.dst && s.remote == f.src {
			return true // sent again
		}
	}
	if len(n.syns) >= maxSYNs {
		return false
	}
	const quoted = 548 // of an ICMP error of 576 bytes
	n.syns = append(n.syns, pendingSYN{now + int64(SYNDelay), f.dst, f.src,
		append([]byte(nil), pkt[:min(len(pkt), quoted)]...)})
	return true
}

// meet forgets a held SYN because the inside opens that very connection.
func (n *NAT) meet(local, remote endpoint) {
	for i, s := range n.syns {
		if s.local == local && s.remote == remote {
			n.syns = append(n.syns[:i], n.syns[i+1:]...)
			return
		}
	}
}

// Next returns when Poll has something to send; false if nothing waits.
func (n *NAT) Next() (time.Time, bool) {
	if len(n.syns) == 0 {
		return time.Time{}, false
	}
	return n.epoch.Add(time.Duration(n.syns[0].due)), true
}

// Poll returns a packet that the NAT itself sends to the outside at now, or
// nil: the late answers of UnsolicitedDelayed. Call it until it returns nil.
// The packet is valid until the next call on the NAT.
func (n *NAT) Poll(now time.Time) []byte {
	t := n.tick(now)
	for len(n.syns) > 0 && n.syns[0].due <= t {
		s := n.syns[0]
		n.syns = n.syns[1:]
		if b := n.answer(ipv4.CodePort, s.local.addr, s.pkt); b != nil {
			return b
		}
	}
	return nil
}
