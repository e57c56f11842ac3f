//go:build lab

package web

import (
	"flag"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"shipworm/ra/face"
)

var (
	shots   = flag.String("shots", "", "write a picture of every scene, in every style, to this `folder`")
	desktop = flag.String("desktop", "", "PNG `file` to show as the shared desktop")
)

// scenes are the looks of the page: every state of both roles.
func scenes() map[string]face.View {
	now := time.Now()
	ada := &face.Peer{Name: "Ada Byron", Address: "[2001:0:cb00:7101:0:3b2e:39cd:9bd5]:52114"}
	charles := &face.Peer{Name: "Charles", Address: "[2001:0:cb00:7101:0:2f09:39cd:9bcc]:49877"}
	candidates := []face.Candidate{
		{Kind: "teredo", Address: "[2001:0:cb00:7101:0:2f09:39cd:9bcc]:49877"},
		{Kind: "ipv6", Address: "[2001:db8:12::5f]:49877"},
		{Kind: "lan", Address: "192.168.1.23:49877"},
	}
	at := func(s int, event, from, text string) face.Entry {
		return face.Entry{Time: now.Add(time.Duration(s-600) * time.Second), Event: event, From: from, Text: text}
	}
	opened := []face.Entry{at(0, "INVITATION_OPENED", "", "The invitation was opened.")}
	connected := append(opened[:1:1],
		at(61, "INCOMING_IP_ADDRESS", "", "Connection from [2001:0:cb00:7101:0:3b2e:39cd:9bd5]:52114."),
		at(64, "CONNECTION_ESTABLISHED", "", "Ada Byron has connected."))
	talked := append(connected[:3:3],
		at(80, "EXPERT_VIEW", "", "Ada Byron can see the screen."),
		at(95, "CHAT_MESSAGE", face.Helper, "Hello Charles! I can see your desktop now."),
		at(130, "CHAT_MESSAGE", face.User, "Good. The printer window is the one at the top left."),
		at(150, "CHAT_MESSAGE", face.Helper, "Thanks. I would like to open its settings; you will be asked whether I may use your mouse."),
		at(171, "EXPERT_REQUEST_CONTROL", "", "Ada Byron asked to share control."))
	controlled := append(talked[:8:8],
		at(180, "EXPERT_GRANTED_CONTROL", "", "Control was granted."),
		at(181, "EXPERT_CONTROL_STARTED", "", "Ada Byron shares control."),
		at(190, "CHAT_MESSAGE", face.User, "Go ahead"))
	said := strings.NewReplacer("Ada Byron has connected.", "Connected to Charles.", "Ada Byron can", "You can",
		"Ada Byron asked", "You asked", "Ada Byron shares", "You share", "Connection from [2001:0:cb00:7101:0:3b2e:39cd:9bd5]:52114.",
		"Calling [2001:0:cb00:7101:0:2f09:39cd:9bcc]:49877.")
	view := func(role, state string, peer *face.Peer, log []face.Entry, change func(*face.View)) face.View {
		v := face.View{Version: 1, Role: role, State: state, Peer: peer, Log: log}
		if change != nil {
			change(&v)
		}
		if role == face.Helper {
			v.Log = slices.Clone(log)
			for i, e := range log {
				v.Log[i].Text = said.Replace(e.Text)
			}
		}
		return v
	}
	return map[string]face.View{
		"user-invite": view(face.User, face.Waiting, nil, opened, func(v *face.View) {
			v.Invitation = &face.Invitation{File: "/home/charles/Desktop/Invitation.MsRcIncident", Password: "K7QM-3WXN-PD4R",
				Expires: now.Add(5*time.Hour + 42*time.Minute), Candidates: candidates}
		}),
		"user-ask-view": view(face.User, face.Waiting, ada, connected, func(v *face.View) { v.Question = question(face.AskView, -time.Hour) }),
		"user-screen":   view(face.User, face.Screen, ada, talked[:6], nil),
		"user-ask-control": view(face.User, face.Screen, ada, talked, func(v *face.View) {
			v.Question = question(face.AskControl, time.Hour)
			v.Question.Enabled = now.Add(1900 * time.Millisecond)
		}),
		"user-control": view(face.User, face.Control, ada, controlled, nil),
		"user-paused":  view(face.User, face.Screen, ada, talked[:6], func(v *face.View) { v.Paused = true }),
		"user-ended": view(face.User, face.Ended, ada, append(controlled, at(400, "CONNECTION_ENDED", "", "The connection has ended.")),
			func(v *face.View) { v.End = &face.End{Reason: "You stopped sharing.", Clean: true} }),
		"helper-opening": view(face.Helper, face.Opening, nil, opened, func(v *face.View) { v.Dialing = candidates }),
		"helper-waiting": view(face.Helper, face.Waiting, charles, connected, nil),
		"helper-screen":  view(face.Helper, face.Screen, charles, talked[:7], nil),
		"helper-control": view(face.Helper, face.Control, charles, controlled, nil),
		"helper-paused":  view(face.Helper, face.Screen, charles, talked, func(v *face.View) { v.Paused = true }),
		"helper-failed": view(face.Helper, face.Ended, charles, controlled, func(v *face.View) {
			v.End = &face.End{Reason: "The connection was lost: nothing was heard from the other computer for 15 seconds."}
		}),
	}
}

// Every state of both roles fits into a window and into a telephone: nothing
// is wider than the screen, and nothing complains. With -shots it also leaves
// pictures to look at.
func TestBrowserScenes(t *testing.T) {
	var picture image.Image = quarters()
	if *desktop != "" {
		f, err := os.Open(*desktop)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if picture, err = png.Decode(f); err != nil {
			t.Fatal(err)
		}
	}
	styles := []struct {
		name          string
		width, height int64
		scheme        string
	}{{"light", 1280, 800, "light"}, {"dark", 1280, 800, "dark"}, {"phone", 390, 844, "light"}}
	b := openBrowser(t)
	f := newFake(face.User, face.Waiting)
	f.viewer = (&rfbServer{picture: picture, seen: func(string) {}}).serve
	srv := serve(t, f)
	for name, v := range scenes() {
		f.set(func(now *face.View) { v.Version = now.Version; *now = v })
		b.open(srv)
		for _, s := range styles {
			b.media(&emulation.MediaFeature{Name: "prefers-color-scheme", Value: s.scheme},
				&emulation.MediaFeature{Name: "prefers-reduced-motion", Value: "reduce"})
			b.do(chromedp.EmulateViewport(s.width, s.height))
			if v.Role == face.Helper && (v.State == face.Screen || v.State == face.Control) {
				b.until(`document.querySelector("#screen canvas")?.width > 0 && document.getElementById("screen").dataset.ready === "yes"`)
				time.Sleep(300 * time.Millisecond) // the picture is scaled after the window
			}
			t.Logf("%s, %s", name, s.name) // the last one is what is waited for in vain
			b.until(`document.documentElement.scrollWidth <= innerWidth`)
			if *shots == "" {
				continue
			}
			png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
			if err == nil {
				err = os.WriteFile(filepath.Join(*shots, name+"-"+s.name+".png"), png, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	b.clean()
	if *shots != "" {
		b.do(chromedp.EmulateViewport(1280, 800), chromedp.Navigate("about:blank"), chromedp.Navigate(strings.SplitAfter(srv.URL(), "#")[0]+"old"))
		b.eval(`(sessionStorage.clear(), location.reload(), 0)`)
		b.until(`document.getElementById("start-title").innerText === "This link is used up"`)
		if png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot()); err == nil {
			os.WriteFile(filepath.Join(*shots, "locked.png"), png, 0o644)
		}
	}
}
