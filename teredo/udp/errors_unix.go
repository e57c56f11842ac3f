//go:build !windows

package udp

import "syscall"

var transientErrnos = [...]error{
	syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED,
	syscall.EMSGSIZE, syscall.ENETUNREACH, syscall.EHOSTUNREACH,
	syscall.ENETDOWN, syscall.EHOSTDOWN, syscall.ENETRESET,
	syscall.EPROTO, syscall.EPERM, syscall.EACCES, syscall.ENOPROTOOPT,
	syscall.ENOBUFS, syscall.ENOMEM, syscall.EAGAIN, syscall.EINTR,
}
