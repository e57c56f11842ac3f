// Package sessionlog writes the session log that each side keeps for itself:
// an XML file in the words of Windows Remote Assistance.
//
//	<?xml version="1.0" encoding="UTF-8"?>
//	<SESSION>
//	<INVITATION_OPENED TIME="3:24 PM" DATE="Wednesday, August 09, 2006" EVENT="..."/>
//	<CHAT_MESSAGE TIME="3:25 PM" DATE="Wednesday, August 09, 2006" EVENT="Helper: hello"/>
//	</SESSION>
//
// The file is well-formed after every record: a record and the closing tag
// after it go out in one write over the old closing tag, and are synced before
// the next. What a power cut tears is repaired by the next [Create] in the same
// directory.
// Element and attribute names are constants of this package; everything else
// passes the XML encoder.
//
// Left out: what was done on the desktop (as at the source), a hash chain
// against tampering, reading logs back for a person.
//
//	log, err := sessionlog.Create(sessionlog.Config{})
//	defer log.Close()
//	log.Write(sessionlog.Record{Time: now, Event: sessionlog.ChatMessage, Text: "Helper: hello"})
package sessionlog

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"
)

// Element names. The first block is the source's own (Vista Resource Kit,
// chapter 23); the second is ours, named in the same manner.
const (
	Session               = "SESSION" // the root; never a record
	InvitationOpened      = "INVITATION_OPENED"
	IncomingIPAddress     = "INCOMING_IP_ADDRESS"
	ConnectionEstablished = "CONNECTION_ESTABLISHED"
	ExpertRequestControl  = "EXPERT_REQUEST_CONTROL"
	ExpertGrantedControl  = "EXPERT_GRANTED_CONTROL"
	ExpertControlStarted  = "EXPERT_CONTROL_STARTED"
	ExpertControlEnded    = "EXPERT_CONTROL_ENDED"
	ChatMessage           = "CHAT_MESSAGE"
	ConnectionEnded       = "CONNECTION_ENDED"
	InvitationClosed      = "INVITATION_CLOSED"

	ViewGranted            = "EXPERT_GRANTED_VIEW"
	ViewRefused            = "EXPERT_REFUSED_VIEW"
	ControlRefused         = "EXPERT_REFUSED_CONTROL"
	SessionPaused          = "SESSION_PAUSED"
	SessionResumed         = "SESSION_RESUMED"
	ConnectionLost         = "CONNECTION_LOST"
	ConnectionFailed       = "CONNECTION_FAILED"
	WrongPassword          = "WRONG_PASSWORD"
	TooManyWrongPasswords  = "TOO_MANY_WRONG_PASSWORDS"
	InvitationExpired      = "INVITATION_EXPIRED"
	SessionLogFull         = "SESSION_LOG_FULL"
	SessionLogFailed       = "SESSION_LOG_FAILED"
	SessionLogRepaired     = "SESSION_LOG_REPAIRED"
	SecondConnectionDenied = "SECOND_CONNECTION_REFUSED"
)

// Layouts of the attributes TIME and DATE, as the source prints them.
const (
	TimeLayout = "3:04 PM"
	DateLayout = "Monday, January 02, 2006"
)

// MaxText is how much of a record's text is kept, in bytes of UTF-8: chat with
// the speaker's name before it fits.
const MaxText = 4096 + 256

// A Record is one element of the log.
type Record struct {
	Time  time.Time // its location is the one printed
	Event string    // one of the names above
	Text  string    // the attribute EVENT
}

// ErrEvent reports a record whose Event is no name of this package.
var ErrEvent = errors.New("sessionlog: no such event")

func known(event string) bool {
	switch event {
	case InvitationOpened, IncomingIPAddress, ConnectionEstablished, ExpertRequestControl, ExpertGrantedControl,
		ExpertControlStarted, ExpertControlEnded, ChatMessage, ConnectionEnded, InvitationClosed,
		ViewGranted, ViewRefused, ControlRefused, SessionPaused, SessionResumed, ConnectionLost,
		ConnectionFailed, WrongPassword, TooManyWrongPasswords, InvitationExpired,
		SessionLogFull, SessionLogFailed, SessionLogRepaired, SecondConnectionDenied:
		return true
	}
	return false
}

// appendRecord appends r as one element and a line feed. The name is written
// only because it is a constant: encoding/xml does not escape names.
func appendRecord(b []byte, r Record) ([]byte, error) {
	if !known(r.Event) {
		return b, fmt.Errorf("%w: %q", ErrEvent, r.Event)
	}
	text := r.Text
	for len(text) > MaxText {
		_, n := utf8.DecodeLastRuneInString(text[:MaxText+1])
		text = text[:MaxText+1-n]
	}
	var buf bytes.Buffer
	buf.WriteString("<" + r.Event)
	for _, a := range [...][2]string{{"TIME", r.Time.Format(TimeLayout)}, {"DATE", r.Time.Format(DateLayout)}, {"EVENT", text}} {
		buf.WriteString(" " + a[0] + `="`)
		if err := xml.EscapeText(&buf, []byte(a[1])); err != nil {
			return b, err
		}
		buf.WriteByte('"')
	}
	buf.WriteString("/>\n")
	return append(b, buf.Bytes()...), nil
}

// Read decodes a log that is well-formed: its records in order. Records of a
// name it does not know are an error, as are nested elements, other attributes
// and anything behind the root.
func Read(r io.Reader) ([]Record, error) {
	d := xml.NewDecoder(io.LimitReader(r, MaxSize+1))
	var (
		recs  []Record
		depth int
		done  bool
	)
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) && done {
			return recs, nil
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return recs, fmt.Errorf("sessionlog: at byte %d: %w", d.InputOffset(), err)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			depth++
			if depth == 1 && !done && tok.Name.Local == Session {
				continue
			}
			if depth != 2 {
				return recs, fmt.Errorf("sessionlog: at byte %d: element %q is out of place", d.InputOffset(), tok.Name.Local)
			}
			rec, err := fromElement(tok)
			if err != nil {
				return recs, fmt.Errorf("sessionlog: at byte %d: %w", d.InputOffset(), err)
			}
			recs = append(recs, rec)
		case xml.EndElement:
			depth--
			done = depth == 0
		case xml.CharData:
			if len(bytes.TrimSpace(tok)) > 0 {
				return recs, fmt.Errorf("sessionlog: at byte %d: text between the records", d.InputOffset())
			}
		}
	}
}

func fromElement(e xml.StartElement) (Record, error) {
	if !known(e.Name.Local) {
		return Record{}, fmt.Errorf("%w: %q", ErrEvent, e.Name.Local)
	}
	if len(e.Attr) != 3 || e.Attr[0].Name.Local != "TIME" || e.Attr[1].Name.Local != "DATE" || e.Attr[2].Name.Local != "EVENT" {
		return Record{}, fmt.Errorf("%s has not exactly TIME, DATE and EVENT", e.Name.Local)
	}
	at, err := time.ParseInLocation(TimeLayout+" "+DateLayout, e.Attr[0].Value+" "+e.Attr[1].Value, time.Local)
	if err != nil {
		return Record{}, err
	}
	return Record{Time: at, Event: e.Name.Local, Text: e.Attr[2].Value}, nil
}
