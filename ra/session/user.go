package session

import (
	"time"

	"shipworm/ra/face"
	"shipworm/ra/sessionlog"
)

// userState is what only the User's machine has.
type userState struct {
	question  *face.Question
	questions uint64    // how many were asked
	refused   time.Time // when control was last refused
	epoch     uint32    // of the newest grant or renewal; 0 before the first
	lapse     time.Time // when the grant lapses
	gateFrom  time.Time // silence counts for the gate from here
	silent    bool      // the gate is closed because the Helper is silent
	crossing  bool      // we ended a grant: a ReleaseControl may be under way
}

// Gate returns whether input is taken at the User's side, and under which
// epoch. Only the User's machine opens it.
func (m *Machine) Gate() (epoch uint32, open bool) {
	return m.user.epoch, m.role == User && m.state == Control && !m.paused && !m.user.silent
}

// Answer is the User's answer to an open question, given at his own machine.
// Nothing else grants anything.
func (m *Machine) Answer(now time.Time, question uint64, yes bool, out *Output) error {
	q := m.user.question
	if q == nil || q.ID != question {
		return face.ErrNotAllowed
	}
	switch {
	case !now.Before(q.Deadline):
		m.answer(now, NoAnswer, out)
		return face.ErrNotAllowed
	case yes && now.Before(q.Enabled):
		return ErrTooEarly
	case yes:
		m.answer(now, Yes, out)
	default:
		m.answer(now, No, out)
	}
	return nil
}

// Pause hides the screen, or shows it again.
func (m *Machine) Pause(now time.Time, paused bool, out *Output) error {
	if !Allowed(TaskPause, m.role, m.state) {
		return face.ErrNotAllowed
	}
	if paused == m.paused {
		return nil
	}
	m.paused = paused
	if paused {
		m.send(now, Message{Type: Pause}, out)
		m.note(now, sessionlog.SessionPaused, "", "The User hides the screen.", out)
		return nil
	}
	m.send(now, Message{Type: Resume}, out)
	m.note(now, sessionlog.SessionResumed, "", "The User shows the screen again.", out)
	m.newEpoch(now, out)
	return nil
}

// Esc ends control because the User pressed Esc at his own keyboard.
func (m *Machine) Esc(now time.Time, out *Output) error {
	if !Allowed(TaskEsc, m.role, m.state) {
		return face.ErrNotAllowed
	}
	m.endControl(now, ByEsc, out)
	return nil
}

func (m *Machine) userReceive(now time.Time, msg Message, out *Output) bool {
	switch msg.Type {
	case RequestControl:
		// The Helper asks once and waits for the answer.
		if !Allowed(TaskRequestControl, Helper, m.state) || m.user.question != nil {
			return false
		}
		m.user.crossing = false // he has seen the end of the last grant
		m.note(now, sessionlog.ExpertRequestControl, "", "The Helper asks to share control.", out)
		if !m.user.refused.IsZero() && now.Before(m.user.refused.Add(m.conf.AskAgain)) {
			m.answerControl(now, TooSoon, out)
			return true
		}
		m.ask(now, face.AskControl)
		return true
	case ReleaseControl:
		if m.user.crossing {
			m.user.crossing = false
			return true
		}
		if !Allowed(TaskGiveUpControl, Helper, m.state) {
			return false
		}
		m.endControl(now, ByHelper, out)
		return true
	}
	return false
}

// ask opens a question. The Yes for control counts a moment later than the
// question appears, so that a click meant for something else is no consent.
func (m *Machine) ask(now time.Time, kind string) {
	m.user.questions++
	q := &face.Question{
		ID: m.user.questions, Kind: kind,
		Text:    viewQuestion(m.shownName(), m.peerAddr),
		Warning: Warning,
		Enabled: now, Deadline: now.Add(m.conf.AnswerTime),
	}
	if m.conf.Notice != "" {
		q.Warning += "\n" + m.conf.Notice
	}
	if kind == face.AskControl {
		q.Text = controlQuestion(m.shownName(), m.peerAddr)
		q.Enabled = now.Add(m.conf.YesDelay)
	}
	m.user.question = q
	m.touch()
}

func (m *Machine) answer(now time.Time, code byte, out *Output) {
	kind := m.user.question.Kind
	m.user.question = nil
	m.touch()
	if kind == face.AskControl {
		m.answerControl(now, code, out)
		return
	}
	m.send(now, Message{Type: ViewAnswer, Code: code}, out)
	switch code {
	case Yes:
		m.state = Screen
		m.note(now, sessionlog.ViewGranted, "", "The User lets the Helper see the desktop.", out)
		m.note(now, sessionlog.ConnectionEstablished, "", m.established(), out)
	case No:
		m.note(now, sessionlog.ViewRefused, "", refusedText(code, "the view of the desktop"), out)
		m.finish(now, End{Reason: "consent refused: you said No", Clean: true, Code: ByeRefused}, out)
	default:
		m.note(now, sessionlog.ViewRefused, "", refusedText(code, "the view of the desktop"), out)
		m.finish(now, End{Reason: "consent refused: nobody answered in time", Code: ByeNoAnswer}, out)
	}
}

func (m *Machine) answerControl(now time.Time, code byte, out *Output) {
	if code != Yes {
		if code != TooSoon {
			m.user.refused = now
		}
		m.send(now, Message{Type: ControlAnswer, Code: code}, out)
		m.note(now, sessionlog.ControlRefused, "", refusedText(code, "control"), out)
		return
	}
	m.state = Control
	m.user.epoch++
	m.user.lapse = now.Add(m.conf.Lapse)
	m.user.gateFrom = now
	m.user.silent = false
	m.send(now, Message{Type: ControlAnswer, Code: Yes, Epoch: m.user.epoch, Lapse: uint32(m.conf.Lapse / time.Second)}, out)
	m.note(now, sessionlog.ExpertGrantedControl, "", "The User lets the Helper share control.", out)
	m.note(now, sessionlog.ExpertControlStarted, "", "The Helper shares control.", out)
}

// newEpoch makes input that is under way worthless: what the Helper did before
// a pause or a silence must not happen after it.
func (m *Machine) newEpoch(now time.Time, out *Output) {
	if m.state != Control || m.paused {
		return
	}
	m.user.epoch++
	m.user.gateFrom = now
	m.send(now, Message{Type: Epoch, Epoch: m.user.epoch}, out)
}

func (m *Machine) endControl(now time.Time, code byte, out *Output) {
	m.state = Screen
	m.user.silent = false
	m.user.crossing = code != ByHelper
	m.send(now, Message{Type: ControlEnded, Code: code}, out)
	m.note(now, sessionlog.ExpertControlEnded, "", endedText(code), out)
}

func (m *Machine) userTick(now time.Time, out *Output) {
	if q := m.user.question; q != nil && !now.Before(q.Deadline) {
		m.answer(now, NoAnswer, out)
	}
	if m.state != Control {
		return
	}
	if !now.Before(m.user.lapse) {
		m.endControl(now, Lapsed, out)
		return
	}
	if !m.user.silent && !m.paused && !now.Before(m.gateCloses()) {
		m.user.silent = true
	}
}

func (m *Machine) userNext() time.Time {
	var next time.Time
	add := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	if m.user.question != nil {
		add(m.user.question.Deadline)
	}
	if m.state == Control {
		add(m.user.lapse)
		if !m.user.silent && !m.paused {
			add(m.gateCloses())
		}
	}
	return next
}

// gateCloses is GateSilence after the last sign of the Helper, or after the
// gate was opened: the Helper beats faster only once he knows of the grant.
func (m *Machine) gateCloses() time.Time {
	from := m.heard
	if m.user.gateFrom.After(from) {
		from = m.user.gateFrom
	}
	return from.Add(m.conf.GateSilence)
}
