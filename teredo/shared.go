package teredo

import (
	"context"
	"net/netip"
	"runtime"

	"shipworm/teredo/udp"
)

// listenShared opens n sockets for one address and port, zero meaning as many as
// there are processors to use, or one where they cannot share it. The system
// spreads the peers over them, and leaves each with its socket.
func listenShared(ctx context.Context, local netip.AddrPort, n int, c udp.Config) ([]udp.Socket, error) {
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	first, err := udp.Listen(ctx, local, c)
	if err != nil {
		return nil, err
	}
	if n == 1 || runtime.GOOS != "linux" {
		return apart([]udp.Socket{first})
	}
	// Nobody else had the port, which those who share it would not notice.
	local = netip.AddrPortFrom(local.Addr(), first.LocalAddr().Port())
	first.Close()
	c.Shared = true
	var socks []udp.Socket
	for range n {
		s, err := udp.Listen(ctx, local, c)
		if err != nil {
			closeAll(socks)
			return nil, err
		}
		socks = append(socks, s)
	}
	return apart(socks)
}

// apart has busy sockets send through others.
func apart(socks []udp.Socket) ([]udp.Socket, error) {
	if err := udp.SendApart(socks); err != nil {
		closeAll(socks)
		return nil, err
	}
	return socks, nil
}

func closeAll(socks []udp.Socket) {
	for _, s := range socks {
		s.Close()
	}
}

// statsOf adds up what the sockets could not do.
func statsOf(socks []udp.Socket) (sum SocketStats) {
	for _, s := range socks {
		sum.Add(s.Stats())
	}
	return sum
}
