package engine

import "time"

const birthdayPorts = 256

type birthday struct {
	peer *peer
	next time.Time
}

func (c *Client) goOnBirthday(now time.Time, out *Output) {}
