package session

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"shipworm/ra/face"
	"shipworm/ra/sessionlog"
)

// MaxEntries bounds the live log of a view; older entries are in the file.
const MaxEntries = 1000

// View returns a snapshot that the machine does not change later. Its Version
// grew if anything in it did.
func (m *Machine) View() face.View {
	v := face.View{
		Version: m.version,
		Role:    m.role.String(), State: m.state.String(),
		Paused: m.paused, Requested: m.helper.requested,
		Invitation: m.invitation, Dialing: m.dialing,
		Log: m.entries[:len(m.entries):len(m.entries)],
	}
	if m.connected {
		v.Peer = &face.Peer{Name: m.shownName(), Address: m.peerAddr}
	}
	if m.user.question != nil {
		q := *m.user.question
		v.Question = &q
	}
	if m.end != nil {
		v.End = &face.End{Reason: m.end.Reason, Clean: m.end.Clean}
	}
	return v
}

// Version returns the version of the view without making one.
func (m *Machine) Version() uint64 { return m.version }

// SetInvitation puts what the User hands over into the view. The machine
// keeps inv; the caller does not change it any more.
func (m *Machine) SetInvitation(inv *face.Invitation) { m.invitation = inv; m.touch() }

// SetDialing puts the addresses that the Helper dials into the view. The
// machine keeps the slice.
func (m *Machine) SetDialing(c []face.Candidate) { m.dialing = c; m.touch() }

// Note puts an event from outside the session (invitation opened, second
// connection refused) into the live log and the session log.
func (m *Machine) Note(now time.Time, event, text string, out *Output) {
	m.note(now, event, "", text, out)
}

// Banner shows an event in the live log alone: that the log cannot be written
// is not to be written into it (RR-06).
func (m *Machine) Banner(now time.Time, event, text string) {
	m.addEntry(face.Entry{Time: now, Event: event, Text: text})
}

func (m *Machine) note(now time.Time, event, from, text string, out *Output) {
	m.addEntry(face.Entry{Time: now, Event: event, From: from, Text: text})
	out.Log = append(out.Log, sessionlog.Record{Time: now, Event: event, Text: text})
}

// noteChat logs one line of chat; text is cleaned.
func (m *Machine) noteChat(now time.Time, from Role, text string, out *Output) {
	if text == "" {
		return
	}
	m.addEntry(face.Entry{Time: now, Event: sessionlog.ChatMessage, From: from.String(), Text: text})
	name := m.conf.Name
	if from != m.role {
		name = m.peerName
	}
	speaker := map[Role]string{User: "User", Helper: "Helper"}[from]
	if name != "" {
		speaker += " " + name
	}
	out.Log = append(out.Log, sessionlog.Record{Time: now, Event: sessionlog.ChatMessage, Text: speaker + ": " + text})
}

func (m *Machine) addEntry(e face.Entry) {
	if len(m.entries) >= 2*MaxEntries {
		// A copy, for views hold the old array.
		m.entries = append([]face.Entry(nil), m.entries[len(m.entries)-MaxEntries:]...)
	}
	m.entries = append(m.entries, e)
	m.touch()
}

func (m *Machine) touch() { m.version++ }

// shownName is what the peer calls itself, cleaned.
func (m *Machine) shownName() string {
	if m.peerName == "" {
		return "unnamed"
	}
	return m.peerName
}

func (m *Machine) established() string {
	return "A Remote Assistance connection with " + m.shownName() + " (not verified) at " + m.peerAddr + " has been established."
}

// sentence turns a reason into a line of the log.
func sentence(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + strings.TrimSuffix(s[n:], ".") + "."
}
