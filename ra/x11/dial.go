package x11

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// dialTimeout bounds connecting and setting up. A healthy server answers in
// milliseconds.
const dialTimeout = 5 * time.Second

// A name is a parsed display name: [host]:display[.screen].
type name struct {
	host    string // "" or "unix" for a local socket
	display int
	screen  int
}

func parseName(s string) (name, error) {
	var n name
	host, rest, ok := cutLast(s, ":")
	if !ok {
		return n, fmt.Errorf("%w: bad display name %q", ErrDisplay, s)
	}
	display, screen, hasScreen := strings.Cut(rest, ".")
	var err1, err2 error
	n.host = host
	n.display, err1 = strconv.Atoi(display)
	if hasScreen {
		n.screen, err2 = strconv.Atoi(screen)
	}
	if err1 != nil || err2 != nil || n.display < 0 || n.display > 59535 || n.screen < 0 {
		return n, fmt.Errorf("%w: bad display name %q", ErrDisplay, s)
	}
	return n, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// dial connects to display and returns the socket, the setup request to send
// on it (X protocol, chapter 8), and the screen number.
func dial(display string) (net.Conn, []byte, int, error) {
	if display == "" {
		display = os.Getenv("DISPLAY")
	}
	if display == "" {
		return nil, nil, 0, fmt.Errorf("%w: DISPLAY is not set", ErrDisplay)
	}
	n, err := parseName(display)
	if err != nil {
		return nil, nil, 0, err
	}
	d := net.Dialer{Timeout: dialTimeout}
	var sock net.Conn
	if n.host == "" || n.host == "unix" {
		path := fmt.Sprintf("/tmp/.X11-unix/X%d", n.display)
		if sock, err = d.Dial("unix", path); err != nil {
			// Linux servers also listen in the abstract namespace.
			if s, err2 := d.Dial("unix", "@"+path); err2 == nil {
				sock, err = s, nil
			}
		}
	} else {
		sock, err = d.Dial("tcp", net.JoinHostPort(n.host, strconv.Itoa(6000+n.display)))
	}
	if err != nil {
		return nil, nil, 0, fmt.Errorf("%w: %w", ErrDisplay, err)
	}
	proto, data := authority(n)
	return sock, setupRequest(proto, data), n.screen, nil
}

func setupRequest(proto, data string) []byte {
	b := []byte{'l', 0, 11, 0, 0, 0} // little endian, protocol 11.0
	b = binary.LittleEndian.AppendUint16(b, uint16(len(proto)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(data)))
	b = append(b, 0, 0)
	b = pad4(append(b, proto...))
	return pad4(append(b, data...))
}

func pad4(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// Address families of the authority file (Xauth).
const (
	familyLocal = 256
	familyWild  = 65535
)

// authority looks the cookie for n up in the user's authority file. Without
// one it returns empty strings: the server may admit us by user id.
func authority(n name) (proto, data string) {
	path := os.Getenv("XAUTHORITY")
	if path == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", ""
		}
		path = filepath.Join(home, ".Xauthority")
	}
	f, err := os.Open(path)
	if err != nil {
		return "", ""
	}
	defer f.Close()
	host := n.host
	if host == "" || host == "unix" || host == "localhost" {
		host, _ = os.Hostname()
	}
	return findCookie(f, host, strconv.Itoa(n.display))
}

// findCookie returns the first entry that fits. Addresses of the Internet
// families are not resolved: for a remote server any entry of its display
// number is tried.
func findCookie(r io.Reader, host, display string) (proto, data string) {
	br := bufio.NewReader(io.LimitReader(r, 1<<20))
	for {
		var family uint16
		if binary.Read(br, binary.BigEndian, &family) != nil {
			return "", ""
		}
		var field [4]string // address, display, protocol, data
		for i := range field {
			var n uint16
			if binary.Read(br, binary.BigEndian, &n) != nil {
				return "", ""
			}
			b := make([]byte, n)
			if _, err := io.ReadFull(br, b); err != nil {
				return "", ""
			}
			field[i] = string(b)
		}
		if family == familyLocal && field[0] != host {
			continue
		}
		if field[1] != "" && field[1] != display || field[2] != "MIT-MAGIC-COOKIE-1" {
			continue
		}
		return field[2], field[3]
	}
}
