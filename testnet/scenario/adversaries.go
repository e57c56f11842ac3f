package scenario

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"shipworm/testnet/adversary"
)

// AdversaryKind says what an adversary does, see testnet/adversary.
type AdversaryKind string

// Kinds of adversaries. The first three have a host of their own, the others
// sit on a node's line.
const (
	Flooder   AdversaryKind = "flooder"
	Spoofer   AdversaryKind = "spoofer"
	SlowLoris AdversaryKind = "slow-loris"
	Replayer  AdversaryKind = "replayer"
	ICMPLiar  AdversaryKind = "icmp-liar"
	BlackHole AdversaryKind = "black-hole"
)

var adversaryKinds = []string{string(Flooder), string(Spoofer), string(SlowLoris), string(Replayer), string(ICMPLiar), string(BlackHole)}

// hosted reports whether adversaries of the kind have a host of their own.
func (k AdversaryKind) hosted() bool { return k == Flooder || k == Spoofer || k == SlowLoris }

// An Adversary does harm from At until Until.
type Adversary struct {
	Name  string
	Kind  AdversaryKind
	Node  *Node         // its host, or the node on whose line it sits
	At    time.Duration // after the start
	Until time.Duration // 0 = the end of the run

	// Of those with a host.
	To      *Node        // a host, or a NAT: its first external address
	Port    uint16       // of To
	Size    int          // of data in a packet, in bytes
	Rate    int          // packets a second, of Flooder and Spoofer
	Sources netip.Prefix // of Flooder: forged ones; zero = its own address
	As      *Node        // of Spoofer: whose first address it sends from
	AsPort  uint16       // of Spoofer
	Open    int          // of SlowLoris: conversations
	Every   time.Duration

	Delay     time.Duration       // of Replayer: from a packet to its repetition
	Keep      int                 // of Replayer: packets, the first ones
	Direction adversary.Direction // of BlackHole
	Remote    *Node               // of BlackHole: what it keeps from this node; nil = from all

	at position
}

// Defaults and bounds of the adversaries' keys. The bounds keep the laboratory,
// which has one machine, on time.
const (
	defaultFlood = 1000 // packets a second
	defaultSpoof = 10   // the same
	defaultOpen  = 100
	defaultEvery = 29 * time.Second // just before the usual 30 s of UDP are over
	defaultDelay = 100 * time.Millisecond
	defaultKeep  = 1024
	maxKeep      = 100_000
	maxFlood     = 10_000
	maxOpen      = 10_000
)

var directions = map[string]adversary.Direction{"both": adversary.Both, "up": adversary.Up, "down": adversary.Down}

// adversaryKind reads the kind of an adversary, which tells whether it is a
// node.
func (p *parser) adversaryKind(s *section) (AdversaryKind, bool) {
	p.need(s, "kind", "one of "+strings.Join(adversaryKinds, ", "))
	kind, at, ok := s.text("kind")
	if !ok {
		return "", false
	}
	if !slices.Contains(adversaryKinds, kind) {
		p.add(at, "no such adversary: %q: %s", kind, oneOf(adversaryKinds))
		return "", false
	}
	return AdversaryKind(kind), true
}

// adversary reads what an adversary does, once all nodes are known.
func (p *parser) adversary(a *Adversary, s *section) {
	a.At = p.instant(s, "at")
	a.Until = p.until(s, a.At)
	if a.Kind.hosted() {
		p.sender(a, s)
	} else {
		p.need(s, "on", "the node on whose line it sits")
		a.Node, _ = p.node(s, "on", "host or NAT")
	}
	switch a.Kind {
	case Flooder:
		a.Rate = orDefault(s, "rate", maxFlood, defaultFlood)
		if text, at, ok := s.text("sources"); ok {
			prefix, err := netip.ParsePrefix(text)
			if err != nil || !prefix.Addr().Is4() || prefix.Bits() > 30 || prefix != prefix.Masked() {
				p.add(at, "sources = %q: want an IPv4 network of up to 30 bits, such as \"198.18.0.0/15\"", text)
			}
			a.Sources = prefix
		}
	case Spoofer:
		a.Rate = orDefault(s, "rate", maxFlood, defaultSpoof)
		a.AsPort = uint16(orDefault(s, "as_port", 65535, echoPort))
		p.need(s, "as", "the node in whose name it sends")
		a.As = p.addressed(s, "as")
	case SlowLoris:
		a.Open = orDefault(s, "conversations", maxOpen, defaultOpen)
		a.Every = p.pause(s, "interval", time.Second, defaultEvery)
	case Replayer:
		a.Delay = p.pause(s, "delay", time.Millisecond, defaultDelay)
		a.Keep = orDefault(s, "keep", maxKeep, defaultKeep)
	case BlackHole:
		if text, at, ok := s.text("direction"); ok {
			if a.Direction, ok = directions[text]; !ok {
				p.add(at, "direction = %q: want \"both\", \"up\" or \"down\"", text)
			}
		}
		a.Remote = p.addressed(s, "remote")
	}
	s.finish()
}

// sender reads what all adversaries with a host have.
func (p *parser) sender(a *Adversary, s *section) {
	p.need(s, "to", "the node that it sends to")
	a.To = p.addressed(s, "to")
	if a.To == a.Node && a.To != nil {
		p.add(s.find("to").value.at, "%s sends to itself: want another node", a.Name)
	}
	a.Port = uint16(orDefault(s, "port", 65535, echoPort))
	a.Size = orDefault(s, "size", 1200, defaultSize)
}

// addressed reads a key that names a node with an IPv4 address.
func (p *parser) addressed(s *section, key string) *Node {
	n, _ := p.node(s, key, "host or NAT")
	if n != nil && n.IsNAT() && n.NAT.NoTranslation {
		p.add(s.find(key).value.at, "%s does not translate, and so has no address: want a host", n.Name)
	}
	return n
}

// pause reads a time that may not be too short.
func (p *parser) pause(s *section, key string, low, unset time.Duration) time.Duration {
	d, ok := s.duration(key)
	if !ok {
		return unset
	}
	if d < low {
		p.add(s.find(key).value.at, "%s = %v: want %v or more", key, d, low)
	}
	return d
}

// orDefault reads a whole number from 1 on.
func orDefault(s *section, key string, high int64, unset int) int {
	if n, ok := s.integer(key, 1, high); ok {
		return int(n)
	}
	return unset
}
