package input

import (
	"fmt"

	"shipworm/ra/x11"
)

// ReleaseStuck lets go of every key and button that is down on a display ("" =
// $DISPLAY). It is for the time after a crash, when nobody knows any more which
// of them an XTest held: the display would hold them for ever. A key under a
// person's finger has to be pressed once more.
func ReleaseStuck(display string) error {
	d, err := x11.OpenInput(display)
	if err != nil {
		return fmt.Errorf("input: %w", err)
	}
	defer d.Close()
	codes, err := d.Pressed()
	if err != nil {
		return fmt.Errorf("input: %w", err)
	}
	for _, c := range codes {
		if err := d.Key(c, false); err != nil {
			return fmt.Errorf("input: %w", err)
		}
	}
	for button := byte(1); button <= 8; button++ { // what is not down stays as it is
		if err := d.Button(button, false); err != nil {
			return fmt.Errorf("input: %w", err)
		}
	}
	return d.Sync()
}
