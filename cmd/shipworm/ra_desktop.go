package main

import (
	"shipworm/ra"
	"shipworm/ra/input"
	"shipworm/ra/screen"
)

// desktop is what a User shares: the display, its keyboard and pointer, and
// the watch for his Esc key.
type desktop struct {
	screen   ra.Screen
	injector input.Injector
	esc      ra.EscWatcher
}

// openDesktop opens an X display ("" = $DISPLAY).
func openDesktop(display string) (*desktop, error) {
	s, err := screen.OpenX11(display)
	if err != nil {
		return nil, withHint(err, "give the X display with --display, such as --display :0")
	}
	x, err := input.OpenXTest(display)
	if err != nil {
		s.Close()
		return nil, err
	}
	return &desktop{s, x, x}, nil
}

// close lets go of the display, and of every key held down on it.
func (d *desktop) close() {
	d.injector.Close()
	d.screen.Close()
}
