package channel

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/quic-go/quic-go"
)

// A middle is an attacker between the two sides who knows the file secret, so
// that he passes the knock on both, terminates TLS with a certificate of his
// own and forwards every byte of the first stream.
type middle struct {
	front, back *link
	listener    *quic.Listener
	cancel      context.CancelFunc
	wg          sync.WaitGroup
	bytes       atomic.Int64
}

func newMiddle(t *testing.T, p *pair, towardsHelper, towardsUser *memConn) *middle {
	t.Helper()
	identity, _ := NewIdentity()
	m := &middle{
		front: newLink(newKnock(towardsHelper, p.inv, toHelper, toUser)),
		back:  newLink(newKnock(towardsUser, p.inv, toUser, toHelper)),
	}
	var err error
	if m.listener, err = m.front.transport.Listen(identity.serverTLS(), quicConfig()); err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, m.cancel = context.WithCancel(context.Background())
	m.wg.Go(func() {
		for {
			victim, err := m.listener.Accept(ctx)
			if err != nil {
				return
			}
			m.wg.Go(func() {
				defer victim.CloseWithError(codeGone, "")
				user, err := m.back.transport.Dial(ctx, p.user.LocalAddr(), clientTLS(p.inv.CertHash), quicConfig())
				if err != nil {
					return
				}
				defer user.CloseWithError(codeGone, "")
				a, err := victim.AcceptStream(ctx)
				if err != nil {
					return
				}
				b, err := user.OpenStreamSync(ctx)
				if err != nil {
					return
				}
				var pumps sync.WaitGroup
				pumps.Go(func() {
					n, _ := io.Copy(b, a)
					m.bytes.Add(n)
					b.Close()
				})
				pumps.Go(func() {
					n, _ := io.Copy(a, b)
					m.bytes.Add(n)
					a.Close()
				})
				pumps.Wait()
			})
		}
	})
	return m
}

func (m *middle) forwarded() int64 { return m.bytes.Load() }

func (m *middle) close() {
	m.cancel()
	m.listener.Close()
	m.wg.Wait()
	m.front.release()
	m.back.release()
}
