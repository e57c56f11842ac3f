package natpmp

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"
)

// Spelled after RFC 6886, 3.2 and 3.3.
const (
	mapRequest      = "\x00\x01\x00\x00\x0d\xd9\x0d\xd9\x00\x00\x0e\x10"
	mapResponse     = "\x00\x81\x00\x00\x00\x00\x00\x4d\x0d\xd9\x9c\x40\x00\x00\x0e\x10"
	addressResponse = "\x00\x80\x00\x00\x00\x00\x00\x4d\xcb\x00\x71\x07"
)

func TestPackets(t *testing.T) {
	q := Request{Op: MapUDP, Internal: 3545, External: 3545, Lifetime: time.Hour}
	if got := q.Append(nil); string(got) != mapRequest {
		t.Errorf("request % x, want % x", got, mapRequest)
	}
	if got := (&Request{Op: Address, Internal: 1}).Append(nil); !bytes.Equal(got, []byte{0, 0}) {
		t.Errorf("address request % x", got)
	}
	r, err := ParseResponse([]byte(mapResponse))
	if want := (Response{Op: MapUDP, Epoch: 77, Internal: 3545, External: 40000, Lifetime: time.Hour}); err != nil || r != want || !r.Answers(&q) {
		t.Errorf("%v: %+v, want %+v", err, r, want)
	}
	r, err = ParseResponse([]byte(addressResponse))
	if want := (Response{Epoch: 77, Addr: netip.MustParseAddr("203.0.113.7")}); err != nil || r != want {
		t.Errorf("%v: %+v, want %+v", err, r, want)
	}
}

// U-12: one change makes an answer none, or another's. Gateways that refuse
// say less.
func TestMutations(t *testing.T) {
	q := Request{Op: MapUDP, Internal: 3545}
	tests := []struct {
		name   string
		packet string
		err    error
		takes  bool
	}{
		{"whole", mapResponse, nil, true},
		{"cut", mapResponse[:15], ErrLength, false},
		{"long", mapResponse + "\x00", ErrLength, false},
		{"one octet", "\x00", ErrLength, false},
		{"a request", mapRequest, ErrKind, false},
		{"TCP's", "\x00\x82" + mapResponse[2:], nil, false},
		{"the address's", addressResponse, nil, false},
		{"opcode 3", "\x00\x83" + mapResponse[2:], ErrOpcode, false},
		{"another port's", mapResponse[:9] + "\xda" + mapResponse[10:], nil, false},
		{"refusal without fields", "\x00\x81\x00\x02\x00\x00\x00\x4d", nil, true},
		{"refusal with them", "\x00\x81\x00\x04" + mapResponse[4:], nil, true},
		{"another version wanted", "\x00\x00\x00\x01\x00\x00\x00\x05", nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := ParseResponse([]byte(tt.packet))
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if err == nil && r.Answers(&q) != tt.takes {
				t.Errorf("taken for the answer: %v", !tt.takes)
			}
		})
	}
	var v *VersionError
	if _, err := ParseResponse([]byte("\x02\x81" + mapResponse[2:])); !errors.As(err, &v) || v.Version != 2 {
		t.Errorf("PCP's: %v", err)
	}
}

// RFC 6886, 3.6.
func TestEpoch(t *testing.T) {
	tests := []struct {
		name    string
		passed  time.Duration
		from    uint32
		to      uint32
		restart bool
	}{
		{"in step", 800 * time.Second, 100, 900, false},
		{"slow by an eighth and two", 800 * time.Second, 100, 798, false},
		{"slower", 800 * time.Second, 100, 797, true},
		{"fast", 10 * time.Second, 0, 1000, false},
		{"restarted", time.Minute, 5000, 3, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var e Epoch
			now := time.Unix(1e9, 0)
			e.Observe(now, tt.from)
			if got := e.Observe(now.Add(tt.passed), tt.to); got != tt.restart {
				t.Errorf("restart %v, want %v", got, tt.restart)
			}
		})
	}
}

func FuzzParseResponse(f *testing.F) {
	f.Add([]byte(mapResponse))
	f.Add([]byte(addressResponse))
	f.Add([]byte("\x00\x00\x00\x01\x00\x00\x00\x05"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseResponse(b)
		if err != nil || r.Op > MapTCP {
			return
		}
		again, err := ParseResponse(r.Append(nil))
		if r.Op == Address && r.Addr == (netip.Addr{}) {
			r.Addr = netip.IPv4Unspecified() // a refusal without one
		}
		if err != nil || again != r {
			t.Errorf("%v: %+v, then %+v", err, r, again)
		}
	})
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(mapRequest))
	f.Add([]byte{0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := ParseRequest(b)
		if err != nil {
			return
		}
		again, err := ParseRequest(q.Append(nil))
		if err != nil || again != q {
			t.Errorf("%v: %+v, then %+v", err, q, again)
		}
	})
}
