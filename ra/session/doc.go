// Package session is the course of a Remote Assistance session without its
// sockets: the messages of the control stream, and one machine for each role
// that decides what they mean.
//
//	Helper:  Opening --connected--> Waiting --view granted--> Screen <--> Control
//	User:    Waiting ------------------ view granted -------> Screen <--> Control
//	any state ------------------------------------------------------> Ended
//
// Waiting For Connect, Screen Sharing and Control Sharing are the states of
// Windows Remote Assistance. A step to the right needs a Yes by the User at
// his own machine: only [Machine.Answer] gives it, no message can. What
// a message may do in which state and from whom is one table, [Allowed]; a
// message that the table forbids ends the session.
//
// Input is taken only under the epoch of a grant: every grant, and every
// return from a pause or from silence, begins a new epoch, and an input event
// that carries another is dropped.
//
// The wire format is described in docs/ra-protocol.md. Left out of
// version 1: files, bandwidth, clipboard, resuming after a change of address.
//
// A Machine has no clock and does no I/O. The caller hands it the time, sends
// what it puts into an [Output], and calls Tick when [Machine.Next] is due:
//
//	m := session.NewUser(session.Config{Name: "Alice"})
//	m.Connected(now, addr, &out)
//	err := m.Receive(now, msg, &out)
//	for _, msg := range out.Send { session.WriteMessage(stream, msg) }
package session
