// Package face is what a face of a Remote Assistance session, the web page or
// the terminal, sees and may do. Both roles (User and Helper) implement
// [Session]; every face is written against it and against nothing else.
//
// The package holds values only: no clock, no I/O. Consent is given nowhere
// but through [Session.Answer], by a person at the local face.
package face

import (
	"context"
	"errors"
	"io"
	"time"
)

// Roles of the two sides, in the words of the Vista Resource Kit.
const (
	User   = "user"   // the novice, whose desktop is shared
	Helper = "helper" // the expert, who sees it
)

// States of a session. The first and the three after it are the source's own;
// the User starts in Waiting, the Helper in Opening.
const (
	Opening = "opening" // Helper: dialling the addresses of the invitation
	Waiting = "waiting" // User: Waiting For Connect. Helper: waiting for consent
	Screen  = "screen"  // Screen Sharing: view only
	Control = "control" // Control Sharing
	Ended   = "ended"
)

// ErrNotAllowed reports an action that this role may not take, or not in this
// state (Table 23-1 of the source; R-14).
var ErrNotAllowed = errors.New("not allowed in this state")

// A View is an immutable snapshot of a session, ready to be shown or sent as
// JSON. Every string in it that came from the peer is already cleaned.
type View struct {
	Version    uint64      `json:"version"` // grows with every change
	Role       string      `json:"role"`
	State      string      `json:"state"`
	Paused     bool        `json:"paused"`
	Peer       *Peer       `json:"peer,omitempty"`       // nil until somebody connected
	Invitation *Invitation `json:"invitation,omitempty"` // User only
	Dialing    []Candidate `json:"dialing,omitempty"`    // Helper only: what is dialled
	Question   *Question   `json:"question,omitempty"`   // User only: open consent question
	Requested  bool        `json:"requested"`            // Helper: control was requested, no answer yet
	Log        []Entry     `json:"log"`                  // the live log, chat included, oldest first
	End        *End        `json:"end,omitempty"`        // set once State is Ended
}

// Peer is the other side. Its name is what it says of itself: not verified.
type Peer struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

// Candidate is one address of an invitation.
type Candidate struct {
	Kind    string `json:"kind"` // "teredo", "ipv6", "lan"
	Address string `json:"address"`
}

// Invitation is what the User hands over: the file, and the password by voice.
type Invitation struct {
	File       string      `json:"file"`
	Password   string      `json:"password"`
	Expires    time.Time   `json:"expires"`
	Candidates []Candidate `json:"candidates"`
}

// Kinds of consent questions.
const (
	AskView    = "view"    // may the Helper see the desktop?
	AskControl = "control" // may the Helper share control?
)

// Question is an open consent question. No answer by Deadline means No;
// a Yes before Enabled is refused.
type Question struct {
	ID       uint64    `json:"id"`
	Kind     string    `json:"kind"`
	Text     string    `json:"text"`
	Warning  string    `json:"warning"`
	Enabled  time.Time `json:"enabled"`
	Deadline time.Time `json:"deadline"`
}

// Entry is one line of the live log.
type Entry struct {
	Time  time.Time `json:"time"`
	Event string    `json:"event"`          // element name of the session log, e.g. CHAT_MESSAGE
	From  string    `json:"from,omitempty"` // "user" or "helper" where a side spoke
	Text  string    `json:"text"`
}

// End says how a session ended.
type End struct {
	Reason string `json:"reason"` // one line for a person
	Clean  bool   `json:"clean"`  // ended by somebody's wish, not by a failure
}

// Session is a running session as its faces see it. All methods may be called
// from any goroutine; actions return [ErrNotAllowed] (wrapped) when role or
// state forbid them.
type Session interface {
	// View returns the newest snapshot.
	View() View
	// Wait blocks until a snapshot newer than after exists, or ctx ends.
	Wait(ctx context.Context, after uint64) (View, error)

	Answer(question uint64, yes bool) error // User
	Pause(paused bool) error                // User: hide the screen
	RequestControl() error                  // Helper
	ReleaseControl() error                  // both: give up control
	Chat(text string) error                 // both
	Stop() error                            // both: disconnect

	// Viewer opens a byte stream that speaks RFB 3.8 as a server, from its
	// version line on, for one viewer (Helper only). The viewer's input
	// events are dropped unless control is granted. The caller closes it.
	Viewer(ctx context.Context) (io.ReadWriteCloser, error)
}
