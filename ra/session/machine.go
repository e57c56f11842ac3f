package session

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"shipworm/internal/clean"
	"shipworm/ra/face"
	"shipworm/ra/sessionlog"
)

// Defaults of [Config].
const (
	DefaultAnswerTime  = 60 * time.Second
	DefaultYesDelay    = 2 * time.Second
	DefaultLapse       = 30 * time.Minute
	DefaultHeartbeat   = 5 * time.Second  // RR-01
	DefaultControlBeat = 2 * time.Second
	DefaultGateSilence = 5 * time.Second  // RR-01
	DefaultLost        = 15 * time.Second // RR-01
	DefaultAskAgain    = 10 * time.Second
)

// Config of a machine. Every duration of 0 means its default.
type Config struct {
	// Name is what this side calls itself, at most clean.MaxName bytes.
	Name string
	// Notice stands after [Warning] in every consent question.
	Notice string

	AnswerTime  time.Duration // an open question turns to No after it
	YesDelay    time.Duration // a Yes for control counts only after it
	Lapse       time.Duration // control ends by itself after it; whole seconds
	Heartbeat   time.Duration // the longest silence of ours
	ControlBeat time.Duration // the same, of a Helper in Control Sharing
	GateSilence time.Duration // the User takes no input after this silence of the Helper
	Lost        time.Duration // the session ends after this silence of the peer
	AskAgain    time.Duration // a request for control this soon after a No is refused unasked
}

func (c Config) withDefaults() Config {
	for _, f := range []struct {
		d   *time.Duration
		def time.Duration
	}{
		{&c.AnswerTime, DefaultAnswerTime}, {&c.YesDelay, DefaultYesDelay}, {&c.Lapse, DefaultLapse},
		{&c.Heartbeat, DefaultHeartbeat}, {&c.ControlBeat, DefaultControlBeat},
		{&c.GateSilence, DefaultGateSilence}, {&c.Lost, DefaultLost}, {&c.AskAgain, DefaultAskAgain},
	} {
		if *f.d == 0 {
			*f.d = f.def
		}
	}
	c.Name = clean.Line(c.Name, clean.MaxName)
	return c
}

// ErrTooEarly reports a Yes before the question's Enabled. It is an
// [face.ErrNotAllowed].
var ErrTooEarly = fmt.Errorf("%w: read the question first", face.ErrNotAllowed)

// ErrProtocol reports a message that the peer may not send, or not now. The
// session has ended when it is returned.
var ErrProtocol = errors.New("breach of the protocol")

// An Output is what a call made due. The caller owns it and resets it.
type Output struct {
	Send []Message           // to the peer, in this order
	Log  []sessionlog.Record // for the session log, in this order
}

// Reset empties the output and keeps its memory.
func (o *Output) Reset() { o.Send, o.Log = o.Send[:0], o.Log[:0] }

// An End says how a session ended.
type End struct {
	Reason string // one line for a person
	Clean  bool   // by somebody's wish
	Code   byte   // the Bye code that this side closes the channel with
	Remote bool   // the peer, or its silence, ended it
	Lost   bool   // the connection was lost
}

// A Machine is one side of one session. It is not safe for concurrent use.
type Machine struct {
	conf Config
	role Role

	state     State
	version   uint64 // of the view
	connected bool
	hello     bool // the peer's Hello has come
	paused    bool
	end       *End

	peerName, peerAddr string
	lastSent, heard    time.Time

	user   userState
	helper helperState

	invitation *face.Invitation
	dialing    []face.Candidate
	entries    []face.Entry
}

// NewUser returns the machine of the User: Waiting For Connect.
func NewUser(c Config) *Machine {
	return &Machine{conf: c.withDefaults(), role: User, state: Waiting, version: 1, entries: []face.Entry{}}
}

// NewHelper returns the machine of the Helper: Opening.
func NewHelper(c Config) *Machine {
	return &Machine{conf: c.withDefaults(), role: Helper, state: Opening, version: 1, entries: []face.Entry{}}
}

// Role returns the machine's role.
func (m *Machine) Role() Role { return m.role }

// State returns the present state.
func (m *Machine) State() State { return m.state }

// Paused reports whether the User hides the screen.
func (m *Machine) Paused() bool { return m.paused }

// End returns how the session ended, nil before.
func (m *Machine) End() *End { return m.end }

// Connected tells the machine that the peer at addr has proved both secrets.
// It may be called once. Each side's first message is its Hello.
func (m *Machine) Connected(now time.Time, addr netip.AddrPort, out *Output) error {
	if m.connected || m.state == Ended {
		return face.ErrNotAllowed
	}
	m.connected = true
	m.state = Waiting
	m.heard, m.lastSent = now, now
	m.peerAddr = addr.String()
	m.dialing = nil
	m.send(now, Message{Type: Hello, Version: Version, Text: m.conf.Name}, out)
	m.note(now, sessionlog.IncomingIPAddress, "", "Connected with "+m.peerAddr+".", out)
	return nil
}

// Receive takes one message of the peer. After an error the session has ended,
// and out says what is left to send.
func (m *Machine) Receive(now time.Time, msg Message, out *Output) error {
	if m.state == Ended {
		return face.ErrNotAllowed
	}
	// Hello comes once and before all else, but for a Bye in its place.
	if !m.connected || m.hello == (msg.Type == Hello) && msg.Type != Bye {
		return m.breach(now, msg, out)
	}
	m.Heard(now, out)
	var ok bool
	switch msg.Type {
	case Hello:
		return m.receiveHello(now, msg, out)
	case Heartbeat:
		return nil
	case Bye:
		m.finish(now, End{Reason: m.byeReason(msg), Clean: msg.Code == ByeStop, Code: msg.Code, Remote: true}, out)
		return nil
	case Chat:
		if ok = Allowed(TaskChat, m.role.Peer(), m.state); ok {
			m.noteChat(now, m.role.Peer(), clean.Line(msg.Text, clean.MaxText), out)
		}
	default:
		if m.role == User {
			ok = m.userReceive(now, msg, out)
		} else {
			ok = m.helperReceive(now, msg, out)
		}
	}
	if !ok {
		return m.breach(now, msg, out)
	}
	return nil
}

func (m *Machine) receiveHello(now time.Time, msg Message, out *Output) error {
	m.hello, m.heard = true, now
	m.peerName = clean.Line(msg.Text, clean.MaxName)
	m.touch()
	if msg.Version != Version {
		m.close(now, End{Reason: fmt.Sprintf("the peer speaks version %d of the protocol, this program version %d", msg.Version, Version), Code: ByeVersion}, out)
		return ErrProtocol
	}
	if m.role == User {
		m.ask(now, face.AskView)
	}
	return nil
}

// Heard tells the machine that the peer lives: something of it arrived on any
// stream. Receive does so by itself. It counts after the peer's Hello only: a
// peer that connects and says nothing is as good as lost.
func (m *Machine) Heard(now time.Time, out *Output) {
	if m.hello && now.After(m.heard) {
		m.heard = now
	}
	if m.role == User && m.user.silent {
		m.user.silent = false
		m.newEpoch(now, out)
	}
}

// Malformed ends the session because the peer sent what is no message.
func (m *Machine) Malformed(now time.Time, err error, out *Output) {
	m.close(now, End{Reason: "the peer breached the protocol: " + clean.Line(err.Error(), MaxReason), Code: ByeProtocol, Remote: true}, out)
}

func (m *Machine) breach(now time.Time, msg Message, out *Output) error {
	m.close(now, End{Reason: fmt.Sprintf("the peer breached the protocol: message %#02x in state %q", byte(msg.Type), m.state), Code: ByeProtocol, Remote: true}, out)
	return ErrProtocol
}

// Lost ends the session because the channel broke.
func (m *Machine) Lost(now time.Time, out *Output) {
	m.finish(now, End{Reason: "connection lost", Code: ByeFailed, Remote: true, Lost: true}, out)
}

// PeerClosed ends the session because the peer closed the channel with this
// Bye code, whether its Bye arrived or not.
func (m *Machine) PeerClosed(now time.Time, code byte, out *Output) {
	m.finish(now, End{Reason: m.byeReason(Message{Code: code}), Clean: code == ByeStop, Code: code, Remote: true}, out)
}

// Fail ends the session for a reason outside of it; event is its name in the
// session log.
func (m *Machine) Fail(now time.Time, event, reason string, out *Output) {
	if m.state == Ended {
		return
	}
	m.note(now, event, "", sentence(reason), out)
	m.close(now, End{Reason: reason, Code: ByeFailed}, out)
}

// Stop ends the session by the wish of this side.
func (m *Machine) Stop(now time.Time, out *Output) error {
	if !Allowed(TaskDisconnect, m.role, m.state) {
		return face.ErrNotAllowed
	}
	m.close(now, End{Reason: "you ended the session", Clean: true, Code: ByeStop}, out)
	return nil
}

// Chat sends a line of chat. Control characters in it are removed.
func (m *Machine) Chat(now time.Time, text string, out *Output) error {
	if !Allowed(TaskChat, m.role, m.state) {
		return face.ErrNotAllowed
	}
	if len(text) > clean.MaxText {
		return fmt.Errorf("a chat line has at most %d bytes, this has %d", clean.MaxText, len(text))
	}
	if text = clean.Line(text, clean.MaxText); text == "" {
		return nil
	}
	m.send(now, Message{Type: Chat, Text: text}, out)
	m.noteChat(now, m.role, text, out)
	return nil
}

// ReleaseControl gives up control, or takes it back.
func (m *Machine) ReleaseControl(now time.Time, out *Output) error {
	if !Allowed(TaskGiveUpControl, m.role, m.state) {
		return face.ErrNotAllowed
	}
	if m.role == User {
		m.endControl(now, ByUser, out)
	} else {
		m.release(now, out)
	}
	return nil
}

// Tick does what is due at now.
func (m *Machine) Tick(now time.Time, out *Output) {
	if m.state == Ended {
		return
	}
	if m.connected && !now.Before(m.heard.Add(m.conf.Lost)) {
		m.Lost(now, out)
		return
	}
	if m.role == User {
		m.userTick(now, out)
	}
	if m.state != Ended && m.connected && !now.Before(m.lastSent.Add(m.beat())) {
		m.send(now, Message{Type: Heartbeat}, out)
	}
}

// Next returns when Tick is due, the zero time for never.
func (m *Machine) Next() time.Time {
	if m.state == Ended || !m.connected {
		return time.Time{}
	}
	next := m.heard.Add(m.conf.Lost)
	if t := m.lastSent.Add(m.beat()); t.Before(next) {
		next = t
	}
	if m.role == User {
		if t := m.userNext(); !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	return next
}

// beat is shorter while the Helper has control: the User's gate closes after
// GateSilence, and must survive a lost datagram.
func (m *Machine) beat() time.Duration {
	if m.role == Helper && m.state == Control {
		return m.conf.ControlBeat
	}
	return m.conf.Heartbeat
}

func (m *Machine) send(now time.Time, msg Message, out *Output) {
	m.lastSent = now
	out.Send = append(out.Send, msg)
}

// close says Bye to the peer, if there is one, and ends the session.
func (m *Machine) close(now time.Time, e End, out *Output) {
	if m.state != Ended && m.connected {
		m.send(now, Message{Type: Bye, Code: e.Code}, out)
	}
	m.finish(now, e, out)
}

func (m *Machine) finish(now time.Time, e End, out *Output) {
	if m.state == Ended {
		return
	}
	if m.connected {
		event := sessionlog.ConnectionEnded
		if e.Lost {
			event = sessionlog.ConnectionLost
		}
		if m.state == Control {
			m.note(now, sessionlog.ExpertControlEnded, "", "Control has ended with the session.", out)
		}
		m.note(now, event, "", sentence(e.Reason), out)
	}
	m.state = Ended
	m.end = &e
	m.user.question = nil
	m.helper.requested = false
	m.touch()
}

func (m *Machine) byeReason(msg Message) string {
	s := byeText(msg.Code, m.role.Peer())
	if text := clean.Line(msg.Text, MaxReason); text != "" {
		s += fmt.Sprintf(" (it says %q)", text)
	}
	return s
}
