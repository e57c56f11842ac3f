package ra

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"shipworm/ra/channel"
	"shipworm/ra/face"
	"shipworm/ra/rfb"
	"shipworm/ra/session"
)

// inputTimeout bounds the wait for a peer who takes no input; the viewer
// waits, and with it the person who types.
const inputTimeout = 5 * time.Second

func (h *Helper) setConn(c *channel.Conn) {
	h.streams.Lock()
	defer h.streams.Unlock()
	h.conn = c
}

// Viewer opens a byte stream that speaks RFB 3.8 as a server, for one viewer.
// It lasts until ctx or the session ends, or it is closed. At most four are
// open at once.
func (h *Helper) Viewer(ctx context.Context) (io.ReadWriteCloser, error) {
	if s := h.View().State; s != face.Screen && s != face.Control {
		return nil, face.ErrNotAllowed
	}
	h.streams.Lock()
	defer h.streams.Unlock()
	if h.conn == nil {
		return nil, face.ErrNotAllowed
	}
	if h.nview == maxViewers {
		return nil, fmt.Errorf("%w: %d viewers are open", face.ErrNotAllowed, maxViewers)
	}
	stream, err := h.conn.OpenStream(ctx, channel.KindScreen)
	if err != nil {
		return nil, err
	}
	h.nview++
	ours, theirs := net.Pipe()
	ctx, cancel := h.untilEnded(ctx)
	h.viewers.Go(func() {
		defer cancel()
		err := rfb.Bridge(ctx, ours, stream, h.forward)
		h.logger.Debug("viewer closed", "err", err)
		ours.Close()
		stream.CancelRead(0)
		stream.CancelWrite(0)
		h.streams.Lock()
		defer h.streams.Unlock()
		h.nview--
	})
	return theirs, nil
}

// forward sends one input message of a viewer under the epoch of the grant.
// Without control it is dropped. It blocks while the User's side takes
// nothing: what is typed then is late, but not lost in parts, for a lost key
// release would leave the key down.
func (h *Helper) forward(msg []byte) error {
	epoch := h.epoch.Load()
	if epoch == 0 {
		return nil
	}
	h.input.Lock()
	defer h.input.Unlock()
	if h.keys == nil && !h.dead {
		h.openInput()
	}
	if h.dead {
		h.ReleaseControl() // a new grant has no way to carry input
		return nil
	}
	frame, err := session.AppendInput(nil, session.Input{Epoch: epoch, Message: msg})
	if err != nil {
		return err
	}
	h.keys.SetWriteDeadline(time.Now().Add(inputTimeout))
	if _, err := h.keys.Write(frame); err != nil {
		// A frame may be half written: nothing may follow it.
		h.logger.Debug("input stream", "err", err)
		h.keys.CancelWrite(0)
		h.dead = true
		h.ReleaseControl()
	}
	return nil
}

// openInput opens the input stream. The caller holds h.input.
func (h *Helper) openInput() {
	h.streams.Lock()
	conn := h.conn
	h.streams.Unlock()
	if conn == nil {
		h.dead = true
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), inputTimeout)
	defer cancel()
	s, err := conn.OpenStream(ctx, channel.KindInput)
	if err != nil {
		h.logger.Debug("input stream", "err", err)
		h.dead = true
		return
	}
	s.CancelRead(0) // nothing comes back
	h.keys = s
}
