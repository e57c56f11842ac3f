package channel_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"shipworm/ra/channel"
	"shipworm/ra/invite"
)

func Example() {
	ctx := context.Background()
	socket := func() *net.UDPConn {
		pc, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
		if err != nil {
			panic(err)
		}
		return pc
	}
	userSocket, helperSocket := socket(), socket()
	defer userSocket.Close()
	defer helperSocket.Close()

	// The User's side makes an invitation and waits.
	inv, _ := invite.New("Ada", 0, time.Now())
	identity, hash := channel.NewIdentity()
	inv.CertHash = hash
	password := invite.NewPassword()
	l, err := channel.Listen(userSocket, channel.ListenConfig{Invitation: inv, Password: password, Identity: identity})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()

	// The Helper dials and speaks at once.
	var helper sync.WaitGroup
	defer helper.Wait()
	helper.Go(func() {
		to := userSocket.LocalAddr().(*net.UDPAddr).AddrPort()
		conn, err := channel.Dial(ctx, helperSocket, to, channel.DialConfig{Invitation: inv, Password: password})
		if err != nil {
			fmt.Println(err)
			return
		}
		control, _ := conn.OpenStream(ctx, channel.KindControl)
		io.WriteString(control, "may I see your screen?")
		control.Close()
		<-conn.Done()
		conn.Close(0, "")
	})

	conn, err := l.Accept(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	kind, control, _ := conn.AcceptStream(ctx)
	words, _ := io.ReadAll(control)
	fmt.Printf("stream %d: %s\n", kind, words)
	conn.Close(0, "enough")
	// Output: stream 0: may I see your screen?
}
