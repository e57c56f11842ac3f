package stack

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// The sockets are what quic-go needs: a session over two hosts.
func TestQUIC(t *testing.T) {
	a, b := pair(t)
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &quic.Config{InitialPacketSize: 1200, DisablePathMTUDiscovery: true, HandshakeIdleTimeout: time.Minute, MaxIdleTimeout: time.Minute}
	pb, err := b.ListenPacket(0)
	if err != nil {
		t.Fatal(err)
	}
	tb := &quic.Transport{Conn: pb}
	l, err := tb.Listen(&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"t"}}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := l.Accept(ctxT(t))
		if err != nil {
			t.Error(err)
			return
		}
		s, err := c.AcceptStream(ctxT(t))
		if err != nil {
			t.Error(err)
			return
		}
		io.Copy(s, s)
		s.Close()
		<-c.Context().Done()
	})
	pa, err := a.ListenPacket(0)
	if err != nil {
		t.Fatal(err)
	}
	ta := &quic.Transport{Conn: pa}
	c, err := ta.Dial(ctxT(t), pb.LocalAddr(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"t"}}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.OpenStreamSync(ctxT(t))
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 1<<20)
	rand.Read(want)
	wg.Go(func() { s.Write(want); s.Close() })
	got, err := io.ReadAll(s)
	if err != nil || string(got) != string(want) {
		t.Errorf("echo of %d bytes gave %d, %v", len(want), len(got), err)
	}
	c.CloseWithError(0, "done")
	wg.Wait()
	ta.Close()
	tb.Close()
	pa.Close()
	pb.Close()
}
