//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Words that cross the session, chosen so that nothing else says them.
const (
	typedText  = "shipworm was here 42"
	helperSays = "I can see your desktop."
	userSays   = "Thank you, that was quick!"
)

// A play is one performance of the main job, with its clock.
type play struct {
	*stage
	begun, last  time.Time
	user, helper *process
	browser      *browser
	invitation   string
	password     string
}

// say prints one observed step with the time since the curtain rose and since
// the step before.
func (p *play) say(format string, args ...any) {
	now := time.Now()
	fmt.Printf("%8.3f s  +%6.3f  %s\n", now.Sub(p.begun).Seconds(), now.Sub(p.last).Seconds(), fmt.Sprintf(format, args...))
	p.last = now
}

func demonstrate(ctx context.Context, c config) (err error) {
	s, err := buildStage(ctx, c)
	if err != nil {
		return err
	}
	p := &play{stage: s, begun: time.Now(), last: time.Now(),
		invitation: filepath.Join(c.out, "Invitation.MsRcIncident"),
		password:   filepath.Join(c.out, "user", "password.txt")}
	defer func() {
		if p.browser != nil {
			p.browser.cancel()
		}
		err = errors.Join(err, s.lab.Close())
	}()
	fmt.Printf("stage: User behind a %s NAT, Helper behind a %s NAT, %v each way, Teredo server at %v\n",
		c.natA, c.natB, 2*c.delay, serverAddr)
	for _, step := range []func(context.Context) error{
		p.invite, p.open, p.consent, p.firstFrame, p.samePicture, p.control, p.typing, p.chat, p.goodbye, p.logs,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	fmt.Printf("done: pictures, logs and transcripts are in %s\n", c.out)
	return nil
}

func (p *play) invite(ctx context.Context) (err error) {
	os.Remove(p.invitation)
	os.Remove(p.password)
	p.user, err = start(ctx, p.stage.user, filepath.Join(p.cfg.out, "user", "terminal.txt"), p.cfg.shipworm,
		"ra", "invite", "--name", "Alice", "--file", p.invitation, "--password-file", p.password,
		"--server", serverAddr.String(), "--display", p.display,
		"--log-dir", filepath.Join(p.cfg.out, "user"))
	if err != nil {
		return err
	}
	m, err := p.user.expect(`^Teredo address: (\S+)`, 10*time.Second)
	if err != nil {
		return err
	}
	p.say("the User qualified: %s", m[1])
	if _, err := p.user.expect(`^Password +in `, 10*time.Second); err != nil {
		return err
	}
	p.say("invitation written, password to be read out")
	return nil
}

func (p *play) open(ctx context.Context) (err error) {
	p.helper, err = start(ctx, p.stage.helper, filepath.Join(p.cfg.out, "helper", "terminal.txt"), p.cfg.shipworm,
		"ra", "open", p.invitation, "--password-file", p.password, "--name", "Bob",
		"--log-dir", filepath.Join(p.cfg.out, "helper"))
	if err != nil {
		return err
	}
	m, err := p.helper.expect(`^Teredo address: (\S+)`, 10*time.Second)
	if err != nil {
		return err
	}
	p.say("invitation opened, the Helper qualified: %s", m[1])
	url, err := p.helper.expect(`^open in your browser: (\S+)`, 10*time.Second)
	if err != nil {
		return err
	}
	if _, err := p.user.expect(`^\? Allow "Bob" .*see your desktop`, 20*time.Second); err != nil {
		return err
	}
	p.say("connected, the User is asked whether Bob may see the desktop")
	wrapper, err := p.browserWrapper()
	if err != nil {
		return err
	}
	p.browser, err = startBrowser(ctx, wrapper, filepath.Join(p.cfg.out, "helper", "profile"), url[1])
	if err != nil {
		return err
	}
	if err := p.browser.wait("the Helper's page", `document.body.dataset.role === "helper"`, 20*time.Second); err != nil {
		return err
	}
	p.say("the Helper's page is open in Chromium")
	return p.browser.screenshot(filepath.Join(p.cfg.out, "helper-1-waiting.png"))
}

func (p *play) consent(context.Context) error {
	if err := p.user.say("y"); err != nil {
		return err
	}
	if _, err := p.user.expect(`^\* Screen Sharing`, 10*time.Second); err != nil {
		return err
	}
	p.say("consent given: Screen Sharing")
	return nil
}

func (p *play) firstFrame(context.Context) error {
	if err := p.browser.wait("the viewer", `document.querySelector("#screen canvas")`, 20*time.Second); err != nil {
		return err
	}
	for limit := time.Now().Add(20 * time.Second); ; {
		m, err := p.browser.canvas("#screen canvas")
		if err == nil && m.Bounds().Dx() > 300 && !uniform(m) {
			break
		}
		if time.Now().After(limit) {
			return fmt.Errorf("no picture in the Helper's viewer (%v)", err)
		}
	}
	p.say("first frame in the Helper's viewer")
	return p.browser.screenshot(filepath.Join(p.cfg.out, "helper-2-screen.png"))
}

// samePicture waits until the Helper's picture settled, and compares it with
// an independent screenshot of the display.
func (p *play) samePicture(ctx context.Context) error {
	seen, err := p.settled(ctx)
	if err != nil {
		return err
	}
	p.say("the Helper's picture equals the User's display: %d of %d pixels differ", 0, seen.Bounds().Dx()*seen.Bounds().Dy())
	return nil
}

func (p *play) settled(ctx context.Context) (image.Image, error) {
	n := 0
	for limit := time.Now().Add(10 * time.Second); time.Now().Before(limit); {
		want, err := grabDisplay(ctx, p.display)
		if err != nil {
			return nil, err
		}
		have, err := p.browser.canvas("#screen canvas")
		if err != nil {
			return nil, err
		}
		if n = differing(want, have); n == 0 {
			return want, nil
		}
	}
	return nil, fmt.Errorf("the Helper's picture does not settle: %d pixels differ from the display", n)
}

func (p *play) control(context.Context) error {
	if err := p.browser.click("#do-request"); err != nil {
		return err
	}
	if _, err := p.user.expect(`^\? Allow "Bob" .*mouse and keyboard`, 10*time.Second); err != nil {
		return err
	}
	p.say("control requested, the User is asked")
	time.Sleep(2100 * time.Millisecond) // a Yes before two seconds does not count
	if err := p.user.say("y"); err != nil {
		return err
	}
	if _, err := p.user.expect(`^\* Control Sharing`, 10*time.Second); err != nil {
		return err
	}
	if err := p.browser.wait("Control Sharing", `document.body.dataset.state === "control"`, 10*time.Second); err != nil {
		return err
	}
	p.say("consent given: Control Sharing")
	return nil
}

func (p *play) typing(ctx context.Context) error {
	before, err := grabDisplay(ctx, p.display)
	if err != nil {
		return err
	}
	if err := p.browser.click("#screen canvas"); err != nil {
		return err
	}
	if err := p.browser.press(fmt.Sprintf("echo '%s' | tee '%s'\r", typedText, p.typed)); err != nil {
		return err
	}
	for limit := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if b, err := os.ReadFile(p.typed); err == nil && strings.TrimSpace(string(b)) == typedText {
			break
		}
		if time.Now().After(limit) {
			return errors.New("what the Helper typed did not reach the shell on the User's desktop")
		}
	}
	p.say("the Helper typed into the terminal program, its shell obeyed")
	after, err := p.settled(ctx)
	if err != nil {
		return err
	}
	if n := differing(before, after); n < 500 {
		return fmt.Errorf("the typed text is not on the User's display: only %d pixels changed", n)
	}
	p.say("typed text on the User's display, the same in the Helper's viewer")
	return p.browser.screenshot(filepath.Join(p.cfg.out, "helper-3-typed.png"))
}

func (p *play) chat(context.Context) error {
	if err := p.browser.focus("#chat-text"); err != nil {
		return err
	}
	if err := p.browser.press(helperSays); err != nil {
		return err
	}
	if err := p.browser.click("#do-send"); err != nil {
		return err
	}
	if _, err := p.user.expect(`Bob: `+helperSays, 10*time.Second); err != nil {
		return err
	}
	if err := p.user.say(userSays); err != nil {
		return err
	}
	if err := p.browser.wait("the User's answer", fmt.Sprintf(`document.querySelector("#log").innerText.includes(%q)`, userSays), 10*time.Second); err != nil {
		return err
	}
	p.say("chat, both ways")
	return p.browser.screenshot(filepath.Join(p.cfg.out, "helper-4-chat.png"))
}

func (p *play) goodbye(context.Context) error {
	if err := p.browser.click("#do-stop"); err != nil {
		return err
	}
	for _, side := range []*process{p.helper, p.user} {
		code, err := side.end(10 * time.Second)
		if err != nil {
			return err
		}
		if code != 0 {
			return fmt.Errorf("%s ended with exit code %d: %s", strings.Join(side.cmd.Args[1:3], " "), code, side.last())
		}
	}
	p.say("the Helper disconnected, both programs ended with exit code 0")
	return nil
}
