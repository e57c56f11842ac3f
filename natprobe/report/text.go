package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"shipworm/internal/clean"
)

// Layout of the text: labels as netsh pads them, sentences below the value.
const (
	labelWidth = 24
	textWidth  = 80
)

// WriteText writes the report for people: each result, what it means in one
// sentence, and what follows for Teredo and for Remote Assistance. What was
// not tested is left out.
func (r *Report) WriteText(w io.Writer) error {
	var p printer
	p.report(r)
	name := r.Classic()
	if name == "" {
		name = "none"
	}
	p.line("RFC 3489 name", name, classicSentence(r))
	p.line("NAT, as netsh says", r.Netsh(), "")
	p.line("For Teredo", "", r.Teredo())
	p.line("For Remote Assistance", "", r.RemoteAssistance())
	if r.IPv6 != nil {
		fmt.Fprintf(&p.b, "\nIPv6\n%s\n", strings.Repeat("-", 45))
		p.report(r.IPv6)
	}
	_, err := w.Write(p.b.Bytes())
	return err
}

type printer struct{ b bytes.Buffer }

// line prints a label and its value, and below it a sentence that explains it.
// Without a value the sentence takes its place.
func (p *printer) line(label string, value any, sentence string) {
	rows := wrap(sentence, textWidth-labelWidth-2)
	if v := fmt.Sprint(value); v != "" {
		rows = append([]string{v}, rows...)
	}
	for i, row := range rows {
		if i > 0 {
			label = ""
		}
		fmt.Fprintf(&p.b, "%-*s%c %s\n", labelWidth, label, ": "[min(i, 1)], row)
	}
}

// wrap breaks text between words into rows of at most width bytes.
func wrap(text string, width int) []string {
	var rows []string
	for _, word := range strings.Fields(text) {
		if n := len(rows); n > 0 && len(rows[n-1])+1+len(word) <= width {
			rows[n-1] += " " + word
		} else {
			rows = append(rows, word)
		}
	}
	return rows
}

func (p *printer) verdict(label string, v Verdict, yes, no string) {
	switch v {
	case Yes:
		p.line(label, v, yes)
	case No:
		p.line(label, v, no)
	case Unknown:
		p.line(label, v, "The observations do not decide it.")
	}
}

func (p *printer) report(r *Report) {
	if r.Interrupted {
		p.line("Interrupted", took(r.Duration), "The probe was ended before its tests were: what is missing was not tested.")
	}
	p.servers(r)
	if r.Local.IsValid() {
		p.line("Local endpoint", r.Local, "")
	}
	if r.Mapped.IsValid() {
		p.line("External endpoint", r.Mapped, "")
	}
	access := accessWords[r.Access]
	if r.NoNAT() && r.Access == AccessUnknown {
		access = "no NAT"
	}
	p.line("Access", access, accessSentence(r))
	if r.Silence != Answered {
		sentence := silenceSentences[r.Silence] + reason(r, "silence")
		if r.Interrupted {
			sentence = "No server had answered yet."
		}
		p.line("Silence", r.Silence, sentence)
		return
	}
	if !r.NoNAT() {
		p.line("Mapping", r.Mapping, mappingSentences[r.Mapping]+because(r, "mapping"))
	}
	p.line("Filtering", r.Filtering, filteringSentences[r.Filtering]+because(r, "filtering"))
	p.ports(r)
	p.details(r)
	p.line("Probe", fmt.Sprintf("%v, %d packets sent, %d received, %d ignored",
		took(r.Duration), r.Packets.Sent, r.Packets.Received, r.Packets.Ignored), "")
}

// took is a duration with the digits that mean something.
func took(d Duration) time.Duration {
	if d < Duration(10*time.Millisecond) {
		return time.Duration(d).Round(100 * time.Microsecond)
	}
	return time.Duration(d).Round(time.Millisecond)
}

// because quotes the evidence for a result that is not known.
func because(r *Report, result string) string {
	if b := map[string]Behavior{"mapping": r.Mapping, "filtering": r.Filtering}[result]; b != BehaviorUnknown {
		return ""
	}
	return reason(r, result)
}

// reason quotes the evidence for a result.
func reason(r *Report, result string) string {
	for _, e := range r.Evidence {
		if e.For == result {
			return " The reason: " + clean.Line(e.Text, clean.MaxText) + "."
		}
	}
	return ""
}

func (p *printer) servers(r *Report) {
	for _, s := range r.Servers {
		label := clean.Line(s.Name, clean.MaxName)
		if a := s.Addr; a.IsValid() {
			if label == a.String() || strings.Trim(label, "[]") == a.Addr().String() {
				label = ""
			}
			label = strings.TrimSpace(label + " " + a.String())
		}
		switch {
		case !s.Answered:
			label += ", silent"
		default:
			label += fmt.Sprintf(", %s, %.1f ms", kindWords[s.Kind], float64(s.RTT)/float64(time.Millisecond))
		}
		p.line("Server", label, "")
		if soft := clean.Line(s.Software, clean.MaxName); soft != "" {
			p.line("Server's software", soft, "")
		}
	}
}

func (p *printer) ports(r *Report) {
	if r.NoNAT() {
		return
	}
	p.verdict("Port preserving", r.PortPreserving,
		"External ports are those that programs here use.", "External ports are others than those that programs here use.")
	switch a := r.Allocation; a.Kind {
	case Sequential:
		value, sentence := fmt.Sprintf("sequential, step %+d", a.Delta), "Ports are counted up: the next one can be foretold."
		if a.Predicted == No {
			sentence = "Ports are counted, but somebody else got the next one: prediction is a gamble here."
		}
		if a.Next != 0 {
			value += fmt.Sprintf(", next %d", a.Next)
		}
		p.line("Port allocation", value, sentence)
	case Random:
		p.line("Port allocation", a.Kind, "No rule is seen in the ports: the next one cannot be foretold.")
	}
	p.verdict("Port parity", r.Parity, "Even ports stay even and odd ones odd.", "Even ports may become odd ones.")
	p.verdict("Port contiguity", r.Contiguity, "Neighbouring ports stay neighbours.", "Neighbouring ports do not stay neighbours.")
	switch r.Pooling {
	case Paired:
		p.line("Address pooling", r.Pooling, "All sockets of this host had the same external address.")
	case Arbitrary:
		p.line("Address pooling", fmt.Sprintf("%v, %d addresses seen", r.Pooling, r.Pool), "Sockets of this host get different external addresses, which breaks programs that use several.")
	}
	switch why := reason(r, "collision"); r.Collision {
	case CollisionUnknown:
		if why != "" {
			p.line("Port collision", r.Collision, "The observations do not decide it."+why)
		}
	case Moved:
		p.line("Port collision", r.Collision, "Of two hosts that use one port the second gets another one outside.")
	case Overloaded:
		p.line("Port collision", r.Collision, "Two hosts that use one port share it outside, and answers may reach the wrong one.")
	case Refused:
		p.line("Port collision", r.Collision, "Of two hosts that use one port the second gets no answers.")
	}
	p.verdict("Deterministic", r.Deterministic, "The same question had the same answer each time.", "The behaviour is not always the same: expect other results at other times."+reason(r, "deterministic"))
}
