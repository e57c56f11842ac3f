package session

import "shipworm/ra/face"

// A Role is the side of a session.
type Role byte

// The two roles.
const (
	User Role = iota
	Helper
)

// String returns the word of package face for the role.
func (r Role) String() string {
	if r == User {
		return face.User
	}
	return face.Helper
}

// Peer returns the other role.
func (r Role) Peer() Role { return 1 - r }

// A State is a state of a session.
type State byte

// The states; see the package comment for the steps between them.
const (
	Opening State = iota
	Waiting
	Screen
	Control
	Ended
)

// String returns the word of package face for the state.
func (s State) String() string {
	return [...]string{face.Opening, face.Waiting, face.Screen, face.Control, face.Ended}[s]
}

// A Task is a row of the source's Table 23-1.
type Task byte

// The rows of Table 23-1. Files and bandwidth have no message in version 1.
const (
	TaskChat Task = iota
	TaskSendFiles
	TaskSaveLog
	TaskBandwidth
	TaskPause
	TaskRequestControl
	TaskGiveUpControl
	TaskDisconnect
	TaskEsc
	numTasks
)

// states is a set of states.
type states byte

func in(ss ...State) states {
	var set states
	for _, s := range ss {
		set |= 1 << s
	}
	return set
}

// Allowed is Table 23-1 of the source, spread over the states: whether a side
// of this role may do the task while the session is in this state. Both sides
// ask it: the one that acts, and, of what arrives, the one that receives.
func Allowed(t Task, r Role, s State) bool {
	sharing := in(Screen, Control)
	row := [numTasks][2]states{ // User, Helper
		TaskChat:           {sharing, sharing},
		TaskSendFiles:      {sharing, sharing},
		TaskSaveLog:        {in(Opening, Waiting, Screen, Control, Ended), in(Opening, Waiting, Screen, Control, Ended)},
		TaskBandwidth:      {sharing, 0},
		TaskPause:          {sharing, 0},
		TaskRequestControl: {0, in(Screen)},
		TaskGiveUpControl:  {in(Control), in(Control)},
		TaskDisconnect:     {in(Opening, Waiting, Screen, Control), in(Opening, Waiting, Screen, Control)},
		TaskEsc:            {in(Control), 0},
	}
	return row[t][r]&(1<<s) != 0
}
