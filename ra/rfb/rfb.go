// Package rfb carries a desktop from the User to the Helper in the Remote
// Framebuffer protocol, so that any VNC viewer can show it.
//
// Three parts:
//
//   - [Serve] is the User's side: it watches a screen.Source and sends what
//     changed on the session's screen stream;
//   - [Bridge] is the Helper's side: it plays an RFB 3.8 server towards one
//     local viewer, forwards, and splits keyboard and pointer off;
//   - [Decoder] and [Viewer] are a bounded client of our own, for tests,
//     benchmarks and programs without a window.
//
// On the screen stream there is no version and no security handshake: the
// stream is authenticated and encrypted below. The User's side sends
// ServerInit at once; after that the messages are those of the sources, except
// that input and cut text on this stream are protocol errors (input has a
// stream of its own, and there is no clipboard, R-23).
//
// Encodings: ZRLE and Tight (fill, palette, copy, JPEG), whichever the viewer
// names first, or Raw; the Decoder knows CopyRect and Tight's gradient too.
// Pseudo-encodings: Cursor, DesktopSize, LastRect (read only), Fence,
// ContinuousUpdates. The picture may travel as JPEG while it moves, but always
// ends byte-identical: see [ServerConfig].
//
// Left out: RRE, Hextile, TRLE, colour maps, RFB versions before 3.8, all
// security types but None, clipboard, bell, resizing by the viewer.
//
// Sources: RFC 6143, and the community description of the protocol for Tight,
// Fence and ContinuousUpdates.
//
//	src, _ := screen.OpenX11("")
//	gate := rfb.NewGate(true)
//	err := rfb.Serve(ctx, stream, rfb.ServerConfig{Source: src, Gate: gate})
package rfb

import (
	"errors"
	"fmt"
)

// Encodings and pseudo-encodings (RFC 6143, 7.7 and 7.8; community text).
const (
	EncRaw         int32 = 0
	EncCopyRect    int32 = 1
	EncTight       int32 = 7
	EncZRLE        int32 = 16
	EncDesktopSize int32 = -223
	EncLastRect    int32 = -224
	EncCursor      int32 = -239
	EncFence       int32 = -312
	EncContinuous  int32 = -313

	// EncQuality0 to EncQuality0+9 offer JPEG of rising quality.
	EncQuality0 int32 = -32
	// EncFineQuality0 to EncFineQuality0+100 offer JPEG of quality 0 to 100.
	EncFineQuality0 int32 = -512
	// EncQEMUKey is the QEMU extended key event.
	EncQEMUKey int32 = -258
)

// ErrProtocol reports bytes that the protocol, or our bounds, do not allow.
// Errors that wrap it name the rule.
var ErrProtocol = errors.New("RFB protocol error")

func protoErr(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}
