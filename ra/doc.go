// Package ra is Remote Assistance: the two drivers that join invitation,
// channel, session, screen and input into a [User] and a [Helper].
//
// A User invites, and answers; a Helper opens the invitation, and asks. Both
// are a face.Session, for the web page (package web) or the terminal, and both
// do all their work inside Run:
//
//	u, err := ra.NewUser(ra.UserConfig{Name: "Alice", Network: n, Screen: src, Injector: inj})
//	go show(u)          // reads u.Wait, calls u.Answer
//	err = u.Run(ctx)    // until the session has ended
//
//	h, err := ra.NewHelper(ra.HelperConfig{Invitation: inv, Password: pw, Networks: []ra.Network{n}})
//	go show(h)          // reads h.Wait, calls h.RequestControl, h.Viewer
//	err = h.Run(ctx)
//
// What may happen when is decided in package session; this package moves
// bytes, and guards the two gates that nothing may pass unasked: the screen's
// (rfb.Gate) and the input's.
//
// Which network carries the session is the caller's business: see [Network].
// Left out: several sessions at once, files, taking up a session again after
// the connection was lost.
package ra
