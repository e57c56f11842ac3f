package session

import (
	"time"

	"shipworm/ra/face"
	"shipworm/ra/sessionlog"
)

// helperState is what only the Helper's machine has.
type helperState struct {
	requested bool   // control was requested, no answer yet
	releasing bool   // control was given up, the User's ControlEnded is due
	epoch     uint32 // newest epoch of the User
}

// RequestControl asks the User for control. One request waits at a time.
func (m *Machine) RequestControl(now time.Time, out *Output) error {
	if !Allowed(TaskRequestControl, m.role, m.state) || m.helper.requested || m.helper.releasing {
		return face.ErrNotAllowed
	}
	m.helper.requested = true
	m.send(now, Message{Type: RequestControl}, out)
	m.note(now, sessionlog.ExpertRequestControl, "", "The Helper asks to share control.", out)
	return nil
}

// Input returns the epoch that input events carry now; ok is false where the
// Helper has no control or the User has paused.
func (m *Machine) Input() (epoch uint32, ok bool) {
	return m.helper.epoch, m.role == Helper && m.state == Control && !m.paused
}

// release gives up control: input stops here at once, the User confirms.
func (m *Machine) release(now time.Time, out *Output) {
	m.state = Screen
	m.helper.releasing = true
	m.send(now, Message{Type: ReleaseControl}, out)
	m.note(now, sessionlog.ExpertControlEnded, "", endedText(ByHelper), out)
}

func (m *Machine) helperReceive(now time.Time, msg Message, out *Output) bool {
	switch msg.Type {
	case ViewAnswer:
		if m.state != Waiting {
			return false
		}
		m.viewAnswered(now, msg.Code, out)
		return true
	case ControlAnswer:
		if m.state != Screen || !m.helper.requested || msg.Code == Yes && msg.Epoch <= m.helper.epoch {
			return false
		}
		m.helper.requested = false
		if msg.Code != Yes {
			m.note(now, sessionlog.ControlRefused, "", refusedText(msg.Code, "control"), out)
			return true
		}
		m.state = Control
		m.helper.epoch = msg.Epoch
		m.note(now, sessionlog.ExpertGrantedControl, "", "The User lets the Helper share control.", out)
		m.note(now, sessionlog.ExpertControlStarted, "", "The Helper shares control.", out)
		return true
	case ControlEnded:
		if m.helper.releasing {
			m.helper.releasing = false
			return true
		}
		if m.state != Control {
			return false
		}
		m.state = Screen
		m.note(now, sessionlog.ExpertControlEnded, "", endedText(msg.Code), out)
		return true
	case Pause, Resume:
		if pause := msg.Type == Pause; !Allowed(TaskPause, User, m.state) || pause == m.paused {
			return false
		}
		m.paused = msg.Type == Pause
		if m.paused {
			m.note(now, sessionlog.SessionPaused, "", "The User hides the screen.", out)
		} else {
			m.note(now, sessionlog.SessionResumed, "", "The User shows the screen again.", out)
		}
		return true
	case Epoch:
		if m.state != Control && !m.helper.releasing || msg.Epoch <= m.helper.epoch {
			return false
		}
		m.helper.epoch = msg.Epoch
		return true
	}
	return false
}

func (m *Machine) viewAnswered(now time.Time, code byte, out *Output) {
	if code == Yes {
		m.state = Screen
		m.note(now, sessionlog.ViewGranted, "", "The User lets the Helper see the desktop.", out)
		m.note(now, sessionlog.ConnectionEstablished, "", m.established(), out)
		return
	}
	bye := ByeRefused
	if code == NoAnswer {
		bye = ByeNoAnswer
	}
	m.note(now, sessionlog.ViewRefused, "", refusedText(code, "the view of the desktop"), out)
	m.finish(now, End{Reason: byeText(bye, User), Code: bye, Remote: true}, out)
}
