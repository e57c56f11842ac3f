package link_test

import (
	"fmt"
	"time"

	"shipworm/testnet/link"
)

// Three packets at once on a slow line: they queue, and the third finds no
// room.
func Example() {
	l, err := link.New(link.Config{Delay: 20 * time.Millisecond, Rate: 1_000_000, Queue: 2000})
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for range 3 {
		d := l.Send(now, 1000)
		if len(d.Times()) == 0 {
			fmt.Println("dropped:", d.Reason)
		}
		for _, t := range d.Times() {
			fmt.Println("arrives after", t.Sub(now))
		}
	}
	// Output:
	// arrives after 28ms
	// arrives after 36ms
	// dropped: the line's queue is full
}
