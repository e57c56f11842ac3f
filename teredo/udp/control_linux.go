package udp

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sizes of control messages: a header and an int, aligned.
const (
	headerSize  = unix.SizeofCmsghdr
	wordSize    = unix.SizeofPtr
	entrySize   = headerSize + wordSize
	controlSize = 2 * entrySize
)

// putControl appends a control message with an integer of size bytes, 2 or 4,
// at b[n:] and returns where the next one goes.
func putControl(b []byte, n int, level, kind int32, size, value int) int {
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[n]))
	h.Level, h.Type = level, kind
	h.SetLen(headerSize + size)
	if size == 2 {
		binary.NativeEndian.PutUint16(b[n+headerSize:], uint16(value))
	} else {
		binary.NativeEndian.PutUint32(b[n+headerSize:], uint32(value))
	}
	return n + entrySize
}

// runSegment returns the size of the datagrams of a run from the control
// messages that came with it; 0 if there is none.
func runSegment(b []byte) int {
	for len(b) >= headerSize {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		n := int(h.Len)
		if n < headerSize || n > len(b) {
			return 0
		}
		if h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_GRO && n >= headerSize+4 {
			return max(0, int(int32(binary.NativeEndian.Uint32(b[headerSize:]))))
		}
		b = b[min((n+wordSize-1)&^(wordSize-1), len(b)):]
	}
	return 0
}
