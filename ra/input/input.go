// Package input performs the Helper's keyboard and pointer on the User's
// desktop, and watches for the User's own Esc key.
//
// [XTest] does both on an X display: [XTest.Inject] makes what the Helper typed
// appear, whatever the keyboard layouts of the two sides are; [XTest.Watch]
// reports Esc pressed by anybody but Inject. Whether input is allowed
// at the moment is not decided here: a session puts a gate in front.
//
// What is never injected: keys outside of the allow-list of
// [Allowed], the combinations that leave the desktop (Ctrl+Alt with a function
// key, Backspace or Delete; SysRq), and pointers outside of the desktop.
//
// Left out: holding down a key that is no modifier (it is pressed and let go at
// once, and again as often as the viewer repeats it), input methods, key symbols of national encodings in both cases,
// touch, other window systems.
//
// Sources: RFC 6143, 7.5.4 and 7.5.5; X Window System Protocol, chapter 5 and
// appendix A (keysyms); XTEST; XInput 2.
//
//	x, err := input.OpenXTest(":0")
//	if err != nil {
//		return err
//	}
//	defer x.Close()
//	go x.Watch(ctx, func() { x.ReleaseAll() })
//	err = x.Inject(rfb.Input{Kind: rfb.KeyInput, Down: true, Keysym: 'ü'})
package input

import (
	"context"
	"errors"

	"shipworm/ra/rfb"
)

var (
	// ErrKey reports a key that is not injected: not on the allow-list, or a
	// combination that would leave the desktop.
	ErrKey = errors.New("key not allowed")
	// ErrOutside reports a pointer outside of the desktop.
	ErrOutside = errors.New("pointer outside of the desktop")
	// ErrKind reports an event that is neither key nor pointer.
	ErrKind = errors.New("unknown kind of input")
)

// An Injector performs input. Its methods may be called from any goroutine.
type Injector interface {
	// Inject performs one event and returns when the display has it. A
	// refused event (ErrKey, ErrOutside, ErrKind) changes nothing.
	Inject(in rfb.Input) error
	// ReleaseAll lets go of every key and button that Inject holds down.
	ReleaseAll() error
	// Close releases all and lets go of the display.
	Close() error
}

// An EscWatcher sees the User's own keyboard.
type EscWatcher interface {
	// Watch calls pressed for every press of Esc that Inject did not make,
	// within 50 ms, from one goroutine, until ctx ends or it can no longer
	// watch; the error says which.
	Watch(ctx context.Context, pressed func()) error
}
