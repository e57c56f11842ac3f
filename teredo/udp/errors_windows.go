package udp

import "golang.org/x/sys/windows"

// Windows reports an ICMP port unreachable on an unconnected socket as
// WSAECONNRESET, and a datagram longer than the buffer as WSAEMSGSIZE.
var transientErrnos = [...]error{
	windows.WSAECONNRESET, windows.WSAECONNREFUSED, windows.WSAECONNABORTED,
	windows.WSAEMSGSIZE, windows.WSAENETUNREACH, windows.WSAEHOSTUNREACH,
	windows.WSAENETDOWN, windows.WSAENETRESET, windows.WSAENOBUFS,
	windows.WSAEWOULDBLOCK, windows.WSAEINTR,
}
