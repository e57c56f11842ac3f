//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"shipworm/ra/rfb"
)

const (
	// quiet is how long a picture rests before the next key is typed.
	quiet = 200 * time.Millisecond
	// lull comes before an idle session is measured: late acknowledgements and
	// tiles that are made exact have passed by then.
	lull = 3 * time.Second
	// patience bounds every wait for something that should come at once.
	patience = 20 * time.Second
)

// A meeting is one session of two real processes.
type meeting struct {
	user, helper         *process
	page                 *page
	invitation, password string
}

// round measures one session from the invitation to the goodbye; the last one
// also idles.
func (b *bench) round(ctx context.Context, last bool) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := &meeting{
		invitation: filepath.Join(b.cfg.out, "Invitation.MsRcIncident"),
		password:   filepath.Join(b.cfg.out, "user", "password.txt"),
	}
	if err := b.invite(ctx, m); err != nil {
		return err
	}
	if err := b.open(ctx, m); err != nil {
		return err
	}
	defer m.page.close()
	if last {
		if err := b.idle(ctx, m, "Screen Sharing"); err != nil {
			return err
		}
	}
	if err := m.share(); err != nil {
		return err
	}
	if err := b.keys(m); err != nil {
		return err
	}
	if last {
		if err := b.idle(ctx, m, "Control Sharing"); err != nil {
			return err
		}
	}
	return m.goodbye()
}

func (b *bench) invite(ctx context.Context, m *meeting) (err error) {
	os.Remove(m.invitation)
	os.Remove(m.password)
	m.user, err = start(ctx, b.stage.user, filepath.Join(b.cfg.out, "user", "terminal.txt"), b.cfg.shipworm,
		"ra", "invite", "--name", "Alice", "--file", m.invitation, "--password-file", m.password,
		"--server", serverAddr.String(), "--display", b.display, "--log-dir", filepath.Join(b.cfg.out, "user"))
	if err == nil {
		_, err = m.user.expect(`^Send the file`, patience)
	}
	return err
}

// open measures from the start of "ra open" to the whole picture.
func (b *bench) open(ctx context.Context, m *meeting) error {
	shot, err := grabDisplay(ctx, b.display)
	if err != nil {
		return err
	}
	want := bgrx(shot)
	b.wire.arm()
	begun := time.Now()
	m.helper, err = start(ctx, b.stage.helper, filepath.Join(b.cfg.out, "helper", "terminal.txt"), b.cfg.shipworm,
		"ra", "open", m.invitation, "--password-file", m.password, "--name", "Bob",
		"--log-dir", filepath.Join(b.cfg.out, "helper"))
	if err != nil {
		return err
	}
	if _, err := m.helper.expect(`^Teredo address: `, patience); err != nil {
		return err
	}
	qualified := time.Now()
	url, err := m.helper.expect(`^open in your browser: (\S+)`, patience)
	if err != nil {
		return err
	}
	m.page = newPage(b.stage.helper, want)
	opened := make(chan error, 1)
	go func() { opened <- m.page.open(ctx, url[1]) }()
	if _, err := m.user.expect(`^\? Allow "Bob" .*see your desktop`, patience); err != nil {
		return errors.Join(err, m.helper.failure())
	}
	asked := time.Now()
	if err := m.user.say("y"); err != nil {
		return err
	}
	if _, err := m.user.expect(`^\* Screen Sharing`, patience); err != nil {
		return err
	}
	answered := time.Now()
	if err := <-opened; err != nil {
		return fmt.Errorf("the Helper's page: %w", err)
	}
	full, err := m.page.whole(patience)
	if err != nil {
		return err
	}
	solicited, err := b.wire.firstFrom("helper")
	if err != nil {
		return err
	}
	at := m.page.times
	b.add(rowOpened, ms(full.Sub(begun)))
	for _, part := range []struct {
		row      row
		from, to time.Time
	}{
		{rowOpenedTicket, begun, solicited},
		{rowOpenedQualify, solicited, qualified},
		{rowOpenedConnect, qualified, asked},
		{rowOpenedConsent, asked, answered},
		{rowOpenedTold, answered, at.shared},
		{rowOpenedViewer, at.shared, at.serverInit},
		{rowOpenedFirst, at.serverInit, at.firstByte},
		{rowOpenedFull, at.firstByte, full},
	} {
		b.add(part.row, ms(part.to.Sub(part.from)))
	}
	b.add(rowOpenedBytes, float64(m.page.received())/1024)
	return nil
}

// share has control requested and granted.
func (m *meeting) share() error {
	if err := m.helper.say("/control"); err != nil {
		return err
	}
	if _, err := m.user.expect(`^\? Allow "Bob" .*mouse and keyboard`, patience); err != nil {
		return err
	}
	time.Sleep(2100 * time.Millisecond) // a Yes before two seconds does not count
	if err := m.user.say("y"); err != nil {
		return err
	}
	if _, err := m.helper.expect(`^\* Control Sharing`, patience); err != nil {
		return err
	}
	// Without a window manager the keys go to the window under the pointer.
	if err := m.page.input(rfb.Input{Kind: rfb.PointerInput, X: 300, Y: 300}); err != nil {
		return err
	}
	m.page.settle(2 * quiet)
	return nil
}

// keys measures from a key event of the viewer to the changed picture in it.
func (b *bench) keys(m *meeting) error {
	for i := range (benchKeys + b.cfg.bench.rounds - 1) / b.cfg.bench.rounds {
		key := rfb.Input{Kind: rfb.KeyInput, Down: true, Keysym: uint32('a' + i%26)}
		m.page.settle(quiet)
		time.Sleep(rand.N(50 * time.Millisecond)) // fall into step with nobody's timer
		begun := time.Now()
		if err := m.page.input(key); err != nil {
			return err
		}
		seen, err := m.page.changed(patience)
		if err != nil {
			return fmt.Errorf("key %d: %w", i+1, err)
		}
		b.add(rowKey, ms(seen.Sub(begun)))
		key.Down = false
		if err := m.page.input(key); err != nil {
			return err
		}
	}
	m.page.settle(quiet)
	return nil
}

func (m *meeting) goodbye() error {
	if err := m.helper.say("/stop"); err != nil {
		return err
	}
	for _, side := range []*process{m.helper, m.user} {
		if code, err := side.end(10 * time.Second); err != nil || code != 0 {
			return errors.Join(err, fmt.Errorf("%s ended with exit code %d: %s", side.name, code, side.last()))
		}
	}
	return nil
}

// failure tells how a process has ended, if it has.
func (p *process) failure() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended: %s", p.name, p.last())
	default:
		return nil
	}
}

// bgrx returns the pixels as the decoder holds them.
func bgrx(m image.Image) []byte {
	r := m.Bounds()
	b := make([]byte, 0, 4*r.Dx()*r.Dy())
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			red, green, blue, _ := m.At(x, y).RGBA()
			b = append(b, byte(blue>>8), byte(green>>8), byte(red>>8), 0)
		}
	}
	return b
}
