package stack

import (
	"sync"
	"testing"
)

// BenchmarkStackTCP is one TCP flow between two hosts joined by a perfect
// wire, packet by packet at MTU 1280.
func BenchmarkStackTCP(b *testing.B) {
	s, r := pair(b)
	l, err := r.Listen(80)
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	const chunk = 64 << 10
	b.SetBytes(chunk)
	wg.Go(func() {
		c, err := l.Accept()
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		buf := make([]byte, 256<<10)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
		}
	})
	c, err := s.DialContext(b.Context(), "tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, chunk)
	for b.Loop() {
		if _, err := c.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
	c.Close()
}
