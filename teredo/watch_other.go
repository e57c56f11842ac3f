//go:build !linux

package teredo

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"time"
)

// linkPoll is how often the host's addresses are compared.
const linkPoll = 5 * time.Second

// watchLinks tells of changes of the host's addresses.
func watchLinks(ctx context.Context, _ *slog.Logger, news chan<- string) {
	list := func() (s []string) {
		addrs, _ := net.InterfaceAddrs()
		for _, a := range addrs {
			s = append(s, a.String())
		}
		slices.Sort(s)
		return s
	}
	t := time.NewTicker(linkPoll)
	defer t.Stop()
	last := list()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		if now := list(); !slices.Equal(last, now) {
			last = now
			tell(news, "an address changed")
		}
	}
}
