package session

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"shipworm/ra/face"
)

// table is Table 23-1 of the source spelled out: one row a task, for the User
// and for the Helper the states O(pening) W(aiting) S(creen) C(ontrol) E(nded)
// in which he may do it.
const table = `
TaskChat            --SC-  --SC-
TaskSendFiles       --SC-  --SC-
TaskSaveLog         OWSCE  OWSCE
TaskBandwidth       --SC-  -----
TaskPause           --SC-  -----
TaskRequestControl  -----  --S--
TaskGiveUpControl   ---C-  ---C-
TaskDisconnect      OWSC-  OWSC-
TaskEsc             ---C-  -----
`

type tableCase struct {
	name  string
	task  Task
	actor Role
	state State
	may   bool
}

func tableCases(t *testing.T) []tableCase {
	t.Helper()
	var cases []tableCase
	for i, line := range strings.Split(strings.TrimSpace(table), "\n") {
		f := strings.Fields(line)
		for _, r := range clients {
			for s := Opening; s <= Ended; s++ {
				cases = append(cases, tableCase{
					fmt.Sprintf("%s by %v in %v", f[0], r, s), Task(i), r, s, f[1+r][s] != '-',
				})
			}
		}
	}
	return cases
}

// act is what the face of a side does for a task; nil where version 1 has no
// such action (files, bandwidth) or where it is no part of the machine (the log).
func act(task Task) func(m *Machine, now time.Time, out *Output) error {
	switch task {
	case TaskChat:
		return func(m *Machine, now time.Time, out *Output) error { return m.Chat(now, "hi", out) }
	case TaskPause:
		return func(m *Machine, now time.Time, out *Output) error { return m.Pause(now, true, out) }
	case TaskRequestControl:
		return (*Machine).RequestControl
	case TaskGiveUpControl:
		return (*Machine).ReleaseControl
	case TaskDisconnect:
		return (*Machine).Stop
	case TaskEsc:
		return (*Machine).Esc
	}
	return nil
}

// message is what a peer of this role sends for a task; ok is false where the
// task stays on its own side. Reserved types stand for files and bandwidth.
func message(task Task, actor Role) (m Message, ok bool) {
	switch task {
	case TaskChat:
		return Message{Type: Chat, Text: "hi"}, true
	case TaskSendFiles:
		return Message{Type: 0x20}, true
	case TaskBandwidth:
		return Message{Type: 0x30}, true
	case TaskPause:
		return Message{Type: Pause}, true
	case TaskRequestControl:
		return Message{Type: RequestControl}, true
	case TaskGiveUpControl:
		if actor == User {
			return Message{Type: ControlEnded, Code: ByUser}, true
		}
		return Message{Type: ReleaseControl}, true
	case TaskEsc:
		return Message{Type: ControlEnded, Code: ByEsc}, actor == User
	case TaskDisconnect:
		return Message{Type: Bye}, true
	}
	return Message{}, false
}

// the 90 cases of the table (9 tasks, 2 roles, 5 states): what a side
// may do at its own face, and what the other side takes from it.
func TestRoleTable(t *testing.T) {
	cases := tableCases(t)
	if len(cases) != 90 {
		t.Fatalf("%d cases, want 90", len(cases))
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := Allowed(c.task, c.actor, c.state); got != c.may {
				t.Fatalf("Allowed is %v, want %v", got, c.may)
			}
			if f := act(c.task); f != nil && !(c.actor == User && c.state == Opening) { // a User never opens
				p := newPair(Config{})
				p.reach(t, c.state)
				before := p.m[c.actor].State()
				err := p.do(c.actor, f)
				if (err == nil) != c.may || err != nil && !errors.Is(err, face.ErrNotAllowed) {
					t.Errorf("acting: %v, may %v", err, c.may)
				}
				if err != nil && p.m[c.actor].State() != before {
					t.Errorf("a refused action led to %v", p.m[c.actor].State())
				}
			}
			msg, ok := message(c.task, c.actor)
			if !ok || c.state == Opening { // not connected: nothing can arrive
				return
			}
			p := newPair(Config{})
			p.reach(t, c.state)
			receiver := c.actor.Peer()
			err := p.do(receiver, func(m *Machine, now time.Time, out *Output) error { return m.Receive(now, msg, out) })
			takes := c.may && msg.Type < 0x20
			switch {
			case c.state == Ended:
				if !errors.Is(err, face.ErrNotAllowed) {
					t.Errorf("after the end: %v", err)
				}
			case takes && err != nil:
				t.Errorf("receiving: %v", err)
			case !takes && (!errors.Is(err, ErrProtocol) || p.m[receiver].State() != Ended || p.m[receiver].End().Code != ByeProtocol):
				t.Errorf("receiving what is forbidden: %v, state %v", err, p.m[receiver].State())
			}
		})
	}
}

// of all (message, state, role) only those listed are taken; every other
// ends the session. R-15: none of them opens the screen at the User's side.
func TestEveryMessageInEveryState(t *testing.T) {
	type key struct {
		to Role
		s  State
		t  Type
	}
	taken := map[key]bool{
		{User, Screen, RequestControl}: true, {User, Control, ReleaseControl}: true,
		{Helper, Waiting, ViewAnswer}: true, {Helper, Control, ControlEnded}: true, {Helper, Control, Epoch}: true,
	}
	for _, r := range clients {
		for s := Waiting; s <= Control; s++ {
			taken[key{r, s, Heartbeat}], taken[key{r, s, Bye}] = true, true
			taken[key{r, s, Chat}] = s != Waiting
		}
	}
	taken[key{Helper, Screen, Pause}], taken[key{Helper, Control, Pause}] = true, true

	for _, r := range clients {
		for s := Waiting; s <= Control; s++ {
			for typ := range Type(0x40) {
				p := newPair(Config{})
				p.reach(t, s)
				msg := Message{Type: typ, Code: Yes, Text: "x", Epoch: 9, Lapse: 9}
				err := p.do(r, func(m *Machine, now time.Time, out *Output) error { return m.Receive(now, msg, out) })
				if ok := taken[key{r, s, typ}]; ok != (err == nil) || !ok && p.m[r].State() != Ended {
					t.Errorf("%v in %v, type %#x: %v, then %v; taken should be %v", r, s, typ, err, p.m[r].State(), ok)
				}
				if r == User && s == Waiting && (p.m[User].State() == Screen || p.m[User].State() == Control) {
					t.Errorf("type %#x opened the screen", typ)
				}
			}
		}
	}
}

// before the Hello nothing else is taken but a Bye.
func TestHelloComesFirst(t *testing.T) {
	for _, r := range clients {
		for typ := range Type(0x40) {
			p := newPair(Config{})
			p.must(t, r, func(m *Machine, now time.Time, out *Output) error { return m.Connected(now, helpAt, out) })
			err := p.do(r, func(m *Machine, now time.Time, out *Output) error {
				return m.Receive(now, Message{Type: typ, Version: Version}, out)
			})
			if (err == nil) != (typ == Hello || typ == Bye) {
				t.Errorf("%v, first message %#x: %v", r, typ, err)
			}
		}
	}
}
