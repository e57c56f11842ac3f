package trace

import (
	"bufio"
	"encoding/json"
	"io"
	"time"
)

// Schema is the version of the JSON trace.
const Schema = 1

// WriteJSON writes everything as JSON, one object a line, events and packets in
// the order in which they were recorded. "kind" tells the objects apart:
//
//   - "trace", the first line: schema, seed, start (RFC 3339), nodes in the
//     order of the paths, gateways (node: the router it is behind), the numbers
//     of events and packets that follow, and of those left out (filter) and
//     lost (no room).
//   - "event", a decision: journey, ns (nanoseconds since start), node, did
//     (sent, forwarded, hairpinned, delivered, dropped, fragmented, forged),
//     reason, from (the node before), packet, and before: the packet as it came,
//     if it was changed.
//   - "packet", a packet put on a line: journey, ns, line, up (from the node of
//     that name towards its network), duplicate (made by a line), packet, after
//     (the decision that put it there) and then (what became of it; did may be
//     "passed": on to the line of that node). after and then are absent if
//     nothing is known.
//
// A packet has a summary, decoded (what Config.Decode says of its payload),
// source, destination and length in bytes. Empty values are left out; unknown
// members are to be ignored.
func (r *Recorder) WriteJSON(w io.Writer) error { return r.Trace(Filter{}).WriteJSON(w) }

type jsonHead struct {
	Kind     string            `json:"kind"`
	Schema   int               `json:"schema"`
	Seed     uint64            `json:"seed"`
	Start    time.Time         `json:"start"`
	Nodes    []string          `json:"nodes"`
	Gateways map[string]string `json:"gateways,omitempty"`
	Events   int               `json:"events"`
	Packets  int               `json:"packets"`
	Left     int               `json:"left,omitempty"`
	Lost     *jsonLost         `json:"lost,omitempty"`
}

type jsonLost struct {
	Events  uint64 `json:"events"`
	Packets uint64 `json:"packets"`
}

type jsonBytes struct {
	Summary     string `json:"summary"`
	Decoded     string `json:"decoded,omitempty"`
	Source      string `json:"source,omitempty"`
	Destination string `json:"destination,omitempty"`
	Length      int    `json:"length"`
}

type jsonDecision struct {
	NS     int64  `json:"ns"`
	Node   string `json:"node"`
	Did    string `json:"did"`
	Reason string `json:"reason,omitempty"`
}

type jsonEvent struct {
	Kind    string `json:"kind"`
	Journey uint64 `json:"journey"`
	jsonDecision
	From   string     `json:"from,omitempty"`
	Packet jsonBytes  `json:"packet"`
	Before *jsonBytes `json:"before,omitempty"`
}

type jsonPacket struct {
	Kind      string        `json:"kind"`
	Journey   uint64        `json:"journey"`
	NS        int64         `json:"ns"`
	Line      string        `json:"line"`
	Up        bool          `json:"up"`
	Duplicate bool          `json:"duplicate,omitempty"`
	Packet    jsonBytes     `json:"packet"`
	After     *jsonDecision `json:"after,omitempty"`
	Then      *jsonDecision `json:"then,omitempty"`
}

// WriteJSON is WriteJSON of Recorder for a filtered trace.
func (t *Trace) WriteJSON(w io.Writer) error {
	b := bufio.NewWriter(w)
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false) // ">" stands in every summary
	head := jsonHead{
		Kind: "trace", Schema: Schema, Seed: t.Seed, Start: t.Start.UTC(), Nodes: t.Nodes, Gateways: t.gateway,
		Events: len(t.Events), Packets: len(t.Packets), Left: t.Left,
	}
	if t.Nodes == nil {
		head.Nodes = []string{}
	}
	if t.Lost != (Lost{}) {
		head.Lost = &jsonLost{t.Lost.Events, t.Lost.Packets}
	}
	if err := enc.Encode(head); err != nil {
		return err
	}
	events, packets := t.Events, t.Packets
	for len(events)+len(packets) > 0 {
		var err error
		if len(packets) == 0 || len(events) > 0 && events[0].seq < packets[0].seq {
			err = enc.Encode(t.jsonEvent(&events[0]))
			events = events[1:]
		} else {
			err = enc.Encode(t.jsonPacket(&packets[0]))
			packets = packets[1:]
		}
		if err != nil {
			return err
		}
	}
	return b.Flush()
}

func (t *Trace) jsonEvent(e *Event) jsonEvent {
	j := jsonEvent{
		Kind: "event", Journey: e.Journey, From: e.From, Packet: t.jsonBytes(e.Data),
		jsonDecision: jsonDecision{int64(e.Time.Sub(t.Start)), e.Node, e.Kind.String(), e.Reason},
	}
	if e.Before != nil {
		if before := t.jsonBytes(e.Before); before != j.Packet {
			j.Before = &before
		}
	}
	return j
}

func (t *Trace) jsonPacket(p *Packet) jsonPacket {
	return jsonPacket{
		Kind: "packet", Journey: p.Journey, NS: int64(p.Time.Sub(t.Start)), Line: p.Line, Up: p.Up,
		Duplicate: p.Duplicate, Packet: t.jsonBytes(p.Data), After: t.jsonDecision(p.After), Then: t.jsonDecision(p.Then),
	}
}

func (t *Trace) jsonDecision(d Decision) *jsonDecision {
	if d.Node == "" {
		return nil
	}
	return &jsonDecision{int64(d.Time.Sub(t.Start)), d.Node, d.Did, d.Reason}
}

func (t *Trace) jsonBytes(b []byte) jsonBytes {
	j := jsonBytes{Summary: t.describe(b), Decoded: t.decoded(b), Length: len(b)}
	if src, dst, ok := endpoints(b); ok {
		j.Source, j.Destination = src.String(), dst.String()
		if src.Port() == 0 && dst.Port() == 0 {
			j.Source, j.Destination = src.Addr().String(), dst.Addr().String()
		}
	}
	return j
}
