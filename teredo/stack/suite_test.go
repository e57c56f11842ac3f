package stack_test

import (
	"net"
	"testing"

	"shipworm/teredo/devicetest"
	"shipworm/teredo/stack"
)

// TestDevice: the userspace host under the suite of all devices.
func TestDevice(t *testing.T) {
	devicetest.Run(t, func(t *testing.T, mtu int) *devicetest.Host {
		s, err := stack.New(stack.Config{MTU: mtu})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		if err := s.SetAddr(devicetest.Addr); err != nil {
			t.Fatal(err)
		}
		h := &devicetest.Host{Device: s, Runs: true, ReadAllocs: 1, WriteAllocs: 8}
		if h.Socket, err = s.ListenPacket(devicetest.Port); err != nil {
			t.Fatal(err)
		}
		var l net.Listener
		if l, err = s.Listen(devicetest.Port); err != nil {
			t.Fatal(err)
		}
		h.Listener = l
		return h
	})
}
