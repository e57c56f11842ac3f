// Package web is the browser face of a Remote Assistance session: one page for
// both roles, served on a loopback port by the program that runs the session.
// The User sees the invitation, the consent questions, the chat and what is
// shared; the Helper sees the other desktop in noVNC, and the chat.
//
//	srv, err := web.New(web.Config{Session: s})
//	if err != nil {
//		return err
//	}
//	fmt.Println("open", srv.URL()) // again for each /url that is typed
//	return srv.Run(ctx)
//
// # Getting in
//
// [Server.URL] mints a one-time code, valid for 30 seconds, in the fragment of
// the URL, where it reaches no server log and no Referer. The page removes it
// from the address bar and exchanges it by POST /login for two secrets, which
// open nothing one without the other: a cookie that no script can read, and a
// key, kept in the tab, that no other port of this machine can read. (Browsers
// send the cookies of 127.0.0.1 to every port of it.) Both live as long as the
// server. Reloading the page keeps them; a second tab needs a code of its own.
//
// Thirty seconds are short for a person who reads an invitation first, so a
// face prints a fresh URL whenever it is asked, by convention with /url; the
// page says so when it was opened with a code that is used up. A face that
// starts the browser itself must not put the URL on a command line, which
// every local user can read: it opens a file of mode 0600 that redirects.
//
// # Who may ask for what
//
// Every request must name 127.0.0.1 or localhost with our port as its Host,
// which ends DNS rebinding. Everything but GET and HEAD, and every upgrade,
// must have exactly our Origin. What browsers mark as asked for by another
// site is refused, but for a link to the page. There is no CORS, no query, no
// caching, no frame, no inline script; by Trusted Types the page can write no
// markup, so that a peer's words stay words.
//
//	GET  /            the page; /ui/ and /novnc/ its parts
//	POST /login       {"code"} -> cookie, {"key"}
//	POST /resume      {"key"} -> 204, or 403: log in again
//	GET  /events      WebSocket: views out, commands in, as JSON
//	GET  /rfb         WebSocket, binary: RFB 3.8 for noVNC
//
// WebSockets offer the subprotocols "shipworm" and "key." + key.
//
// # Consent, and what the page cannot promise
//
// The User's browser is on the desktop that the Helper may come to control. To
// a browser, input injected through X is a person's (isTrusted is true), so
// the page cannot tell whose click it gets. What holds instead: while control
// is shared no question is open, and a Yes is refused here too (do); a question
// can be agreed to only two seconds after it appeared, when injected input has
// long ended; No has the focus; and the page drops events that scripts made.
// The password leaves the page once somebody has connected.
//
// What remains: a Helper who controls the desktop can do there what the User
// can. He may write in the User's chat, press Stop or Pause, or start a program
// that goes on to move the pointer after control has ended, and such a program
// could press Yes. Nothing in a page can prevent that; sharing control is
// trusting with the desktop, and the question says so.
//
// Left out: TLS (loopback only), several users, file transfer, settings.
package web
