package message

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var same = cmp.Options{cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmpopts.EquateEmpty()}

// id is the transaction of the samples of RFC 5769.
const id5769 = "2112a442b7e7a701bc34d686fa87dfae"

func mustID(s string) ID {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return ID(b)
}

// TestRFC5769 decodes the samples of RFC 5769, 2.1 to 2.3.
func TestRFC5769(t *testing.T) {
	for _, c := range []struct {
		name, hex string
		want      Message
	}{
		{"2.1 request of an ICE agent", `00010058 2112a442 b7e7a701bc34d686fa87dfae
			80220010 5354554e 20746573 7420636c 69656e74
			00240004 6e0001ff 80290008 932ff9b1 51263b36
			00060009 6576746a 3a683676 59202020
			00080014 9aeaa70c bfd8cb56 781ef2b5 b2d3f249 c1b571a2
			80280004 e57a3bcf`,
			Message{ID: mustID(id5769), Software: "STUN test client", Unknown: []uint16{0x0024}}},
		{"2.2 IPv4 response", `0101003c 2112a442 b7e7a701bc34d686fa87dfae
			8022000b 74657374 20766563 746f7220
			00200008 0001a147 e112a643
			00080014 2b91f599 fd9e90c3 8c7489f9 2af9ba53 f06be7d7
			80280004 c07d4c96`,
			Message{Class: Success, ID: mustID(id5769), Software: "test vector", XORMapped: ap("192.0.2.1:32853")}},
		{"2.3 IPv6 response", `01010048 2112a442 b7e7a701bc34d686fa87dfae
			8022000b 74657374 20766563 746f7220
			00200014 0002a147 0113a9fa a5d3f179 bc25f4b5 bed2b9d9
			00080014 a382954e 4be67bf1 1784c97c 8292c275 bfe3ed41
			80280004 c8fb0b4c`,
			Message{Class: Success, ID: mustID(id5769), Software: "test vector", XORMapped: ap("[2001:db8:1234:5678:11:2233:4455:6677]:32853")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse(unhex(t, c.hex))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got, same); d != "" {
				t.Error(d)
			}
			if c.want.XORMapped.IsValid() {
				bare := Message{Class: Success, ID: c.want.ID, XORMapped: c.want.XORMapped}
				if attr := hex.EncodeToString(bare.Append(nil)[20:]); !strings.Contains(hex.EncodeToString(unhex(t, c.hex)), attr) {
					t.Errorf("Append writes %s", attr)
				}
			}
		})
	}
}

// old is a transaction of RFC 3489.
var old = mustID("000102030405060708090a0b0c0d0e0f")

var roundTrips = map[string]Message{
	"request":          {ID: mustID(id5769)},
	"change request":   {ID: mustID(id5769), ChangeIP: true},
	"change both":      {ID: mustID(id5769), ChangeIP: true, ChangePort: true},
	"response port":    {ID: mustID(id5769), ResponsePort: 4321},
	"padded":           {ID: mustID(id5769), Padding: 1500},
	"classic request":  {ID: old, ChangePort: true},
	"answer":           {Class: Success, ID: mustID(id5769), Mapped: ap("192.0.2.1:1"), XORMapped: ap("192.0.2.1:1"), Origin: ap("198.51.100.1:3478"), Other: ap("198.51.100.2:3479"), Software: "x"},
	"answer, IPv6":     {Class: Success, ID: mustID(id5769), Mapped: ap("[2001:db8::1]:1"), XORMapped: ap("[2001:db8::1]:1"), Origin: ap("[2001:db8::2]:3478")},
	"answer, RFC 3489": {Class: Success, ID: old, Mapped: ap("192.0.2.1:1"), Origin: ap("198.51.100.1:3478"), Other: ap("198.51.100.2:3479"), Old: true},
	"error":            {Class: Error, ID: mustID(id5769), Code: 420, Reason: "Unknown Attribute", Unknown: []uint16{0x0003, 0x0002}},
	"redirection":      {Class: Error, ID: mustID(id5769), Code: 300, Reason: "Try Alternate", Alternate: ap("198.51.100.9:3478")},
	"indication":       {Class: Indication, ID: mustID(id5769)},
	"longest": {Class: Error, ID: mustID(id5769), Code: 699, Reason: strings.Repeat("r", 127), Software: strings.Repeat("s", 127),
		Mapped: ap("[2001:db8::1]:1"), XORMapped: ap("[2001:db8::1]:1"), Origin: ap("[2001:db8::2]:3478"), Other: ap("[2001:db8::2]:3478"), Alternate: ap("[2001:db8::2]:3478")},
}

func TestRoundTrip(t *testing.T) {
	for name, m := range roundTrips {
		t.Run(name, func(t *testing.T) {
			b := m.Append([]byte("before"))
			got, err := Parse(b[6:])
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(m, got, same); d != "" || string(b[:6]) != "before" {
				t.Error(d)
			}
		})
	}
}

// TestWire pins bytes against the figures of RFC 5780, 7.
func TestWire(t *testing.T) {
	for _, c := range []struct {
		name string
		m    Message
		want string
	}{
		{"CHANGE-REQUEST", Message{ID: old, ChangeIP: true, ChangePort: true}, "00010008 000102030405060708090a0b0c0d0e0f 00030004 00000006"},
		{"change port", Message{ID: old, ChangePort: true}, "00010008 000102030405060708090a0b0c0d0e0f 00030004 00000002"},
		{"RESPONSE-PORT", Message{ID: old, ResponsePort: 0x1234}, "00010008 000102030405060708090a0b0c0d0e0f 00270002 12340000"},
		{"OTHER-ADDRESS", Message{Class: Success, ID: old, Other: ap("192.0.2.1:3479")}, "0101000c 000102030405060708090a0b0c0d0e0f 802c0008 00010d97 c0000201"},
		{"RESPONSE-ORIGIN", Message{Class: Success, ID: old, Origin: ap("192.0.2.1:3479")}, "0101000c 000102030405060708090a0b0c0d0e0f 802b0008 00010d97 c0000201"},
		{"old names", Message{Class: Success, ID: old, Origin: ap("192.0.2.1:1"), Other: ap("192.0.2.2:2"), Old: true}, "01010018 000102030405060708090a0b0c0d0e0f 00040008 00010001 c0000201 00050008 00010002 c0000202"},
		{"no XOR without cookie", Message{Class: Success, ID: old, XORMapped: ap("192.0.2.1:1")}, "01010000 000102030405060708090a0b0c0d0e0f"},
		{"PADDING rounded up", Message{ID: old, Padding: 1}, "00010008 000102030405060708090a0b0c0d0e0f 00260004 00000000"},
		{"420", Message{Class: Error, ID: old, Code: 420, Unknown: []uint16{2}}, "01110010 000102030405060708090a0b0c0d0e0f 00090004 00000414 000a0002 00020000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, want := hex.EncodeToString(c.m.Append(nil)), strings.ReplaceAll(c.want, " ", ""); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// TestParseRefuses: short values that the library would take as they are,
// and lengths that lie. N-03
func TestParseRefuses(t *testing.T) {
	const head = "000102030405060708090a0b0c0d0e0f"
	padded := Message{ID: old, Padding: MaxPadded}
	for _, c := range []struct {
		name, hex string
		want      error
	}{
		{"nothing", "", ErrNotSTUN},
		{"19 bytes", "00010000 000102030405060708090a0b0c0d0e", ErrNotSTUN},
		{"top bits", "80010000" + head, ErrNotSTUN},
		{"another method", "00030000" + head, ErrNotSTUN},
		{"length too small", "00010000" + head + "00000000", ErrNotSTUN},
		{"length too large", "00010008" + head + "00000000", ErrNotSTUN},
		{"attribute beyond the end", "00010008" + head + "00030008 00000000", ErrAttribute},
		{"half an attribute header", "00010002" + head + "0003", ErrAttribute},
		{"empty MAPPED-ADDRESS", "01010004" + head + "00010000", ErrAttribute},
		{"MAPPED-ADDRESS of 5 bytes", "0101000c" + head + "00010005 00010001 c0000000", ErrAttribute},
		{"IPv6 address of 4 bytes", "0101000c" + head + "00010008 00020001 c0000201", ErrAttribute},
		{"IPv4 address of 16 bytes", "01010018" + head + "00010014 00010001 c0000201 00000000 00000000 00000000", ErrAttribute},
		{"family 3", "0101000c" + head + "00010008 00030001 c0000201", ErrAttribute},
		{"short OTHER-ADDRESS", "01010008" + head + "802c0004 00010001", ErrAttribute},
		{"CHANGE-REQUEST of 3 bytes", "00010008" + head + "00030003 00000600", ErrAttribute},
		{"RESPONSE-PORT of 1 byte", "00010008" + head + "00270001 12000000", ErrAttribute},
		{"ERROR-CODE of 3 bytes", "01110008" + head + "00090003 00000400", ErrAttribute},
		{"ERROR-CODE 4 hundred 200", "01110008" + head + "00090004 000004c8", ErrAttribute},
		{"odd UNKNOWN-ATTRIBUTES", "01110008" + head + "000a0003 00010200", ErrAttribute},
		{"1284 bytes without padding", "000104f0" + head + "802204ec" + strings.Repeat("41", 1260), ErrTooLong},
		{"more than a padded message", hex.EncodeToString(padded.Append(nil)) + "00", ErrTooLong},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := unhex(t, c.hex)
			if m, err := Parse(b); !errors.Is(err, c.want) {
				t.Errorf("Parse = %+v, %v, want %v", m, err, c.want)
			}
		})
	}
	if n := len(padded.Append(nil)); n != MaxPadded {
		t.Errorf("the longest padding makes %d bytes, want %d", n, MaxPadded)
	}
}

// TestParseTakes: what real programs send against the letter of the RFCs.
func TestParseTakes(t *testing.T) {
	const head = "000102030405060708090a0b0c0d0e0f"
	for _, c := range []struct {
		name, hex string
		want      Message
	}{
		{"RESPONSE-PORT with its padding counted", "00010008" + head + "00270004 12340000", Message{ID: old, ResponsePort: 0x1234}},
		{"first byte of an address", "0101000c" + head + "00010008 ff010001 c0000201", Message{Class: Success, ID: old, Mapped: ap("192.0.2.1:1")}},
		{"XOR-MAPPED-ADDRESS without cookie", "0101000c" + head + "80200008 00010001 c0000201", Message{Class: Success, ID: old}},
		{"first of two", "00010010" + head + "00030004 00000002 00030004 00000004", Message{ID: old, ChangePort: true}},
		{"old names beside the new", "01010018" + head + "00050008 00010002 c0000202 802c0008 00010001 c0000201", Message{Class: Success, ID: old, Other: ap("192.0.2.1:1")}},
		{"RESPONSE-ADDRESS", "0001000c" + head + "00020008 00010001 c0000201", Message{ID: old, Unknown: []uint16{2}}},
		{"credentials", "0001000c" + head + "00060001 61000000 00070000", Message{ID: old}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse(unhex(t, c.hex))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got, same); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestNewID(t *testing.T) {
	a, b := NewID(), NewID()
	if a == b || a.Classic() || !old.Classic() {
		t.Errorf("IDs %s and %s", a, b)
	}
}

// FuzzParse: no input panics, and what was read is written so that the same is
// read again. N-05
func FuzzParse(f *testing.F) {
	for _, m := range roundTrips {
		f.Add(m.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := string(b)
		m, err := Parse(b)
		if string(b) != before {
			t.Fatal("Parse changed its input")
		}
		if err != nil {
			return
		}
		if m.Class != Error {
			m.Unknown = nil // not written
		}
		m.Software, m.Reason = cut(m.Software), cut(m.Reason)
		if m.Code == 0 {
			m.Reason = ""
		}
		m.Padding = (m.Padding + 3) &^ 3
		again, err := Parse(m.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		again.Padding = (again.Padding + 3) &^ 3
		if d := cmp.Diff(m, again, same); d != "" {
			t.Error(d)
		}
	})
}

// TestParseAllocates little, whatever the message says. N-05
func TestParseAllocates(t *testing.T) {
	m := Message{ID: old, Padding: MaxPadded}
	full := m.Append(nil)
	const runs = 10
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		if _, err := Parse(full); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) / runs; got > 64<<10 {
		t.Errorf("%d bytes allocated", got)
	}
	// Empty attributes, as many as fit.
	many := append(full[:20:20], make([]byte, MaxPadded-20)...)
	if _, err := Parse(many); !errors.Is(err, ErrAttribute) {
		t.Errorf("2,299 attributes: %v", err)
	}
}
