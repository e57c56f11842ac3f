package session

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// messages is every type of message in hex, as docs/ra-protocol.md has it.
func messages() map[string]Message {
	return map[string]Message{
		"0007 01 01 416c696365":        {Type: Hello, Version: 1, Text: "Alice"},
		"0002 01 01":                   {Type: Hello, Version: 1},
		"0001 02":                      {Type: Heartbeat},
		"0002 03 00":                   {Type: Bye},
		"0005 03 06 c3a962":            {Type: Bye, Code: ByeFailed, Text: "éb"},
		"0003 04 6869":                 {Type: Chat, Text: "hi"},
		"0002 10 01":                   {Type: ViewAnswer, Code: Yes},
		"0002 10 02":                   {Type: ViewAnswer, Code: NoAnswer},
		"0001 11":                      {Type: RequestControl},
		"000a 12 01 00000003 00000708": {Type: ControlAnswer, Code: Yes, Epoch: 3, Lapse: 1800},
		"0002 12 03":                   {Type: ControlAnswer, Code: TooSoon},
		"0001 13":                      {Type: ReleaseControl},
		"0002 14 02":                   {Type: ControlEnded, Code: ByEsc},
		"0001 15":                      {Type: Pause},
		"0001 16":                      {Type: Resume},
		"0005 17 00000004":             {Type: Epoch, Epoch: 4},
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMessages(t *testing.T) {
	for text, m := range messages() {
		b, err := AppendMessage([]byte("x"), m)
		if want := append([]byte("x"), unhex(t, text)...); err != nil || !bytes.Equal(b, want) {
			t.Errorf("%+v: %x, want %x (%v)", m, b, want, err)
		}
		r := bytes.NewReader(append(unhex(t, text), "rest"...))
		if got, err := ReadMessage(r); err != nil || got != m || r.Len() != 4 {
			t.Errorf("%s: read %+v, %v, %d bytes left; want %+v", text, got, err, r.Len(), m)
		}
	}
}

func TestMalformedMessages(t *testing.T) {
	for _, tt := range []struct{ name, hex string }{
		{"length 0", "0000"},
		{"length over the bound", "1004 04" + strings.Repeat("61", 0x1003)},
		{"type 0", "0001 00"},
		{"reserved for files", "0001 20"},
		{"reserved for bandwidth", "0002 30 00"},
		{"hello without a version", "0001 01"},
		{"hello with a long name", "0043 01 01" + strings.Repeat("61", 65)},
		{"hello, not UTF-8", "0003 01 01 ff"},
		{"heartbeat with a body", "0002 02 00"},
		{"bye without a code", "0001 03"},
		{"bye with an unknown code", "0002 03 07"},
		{"bye, long", "0103 03 00" + strings.Repeat("61", 257)},
		{"empty chat", "0001 04"},
		{"chat, not UTF-8", "0002 04 c3"},
		{"view answer without one", "0001 10"},
		{"view answer 3", "0002 10 03"},
		{"view answer with more", "0003 10 01 00"},
		{"request with a body", "0002 11 00"},
		{"yes without an epoch", "0002 12 01"},
		{"yes with epoch 0", "000a 12 01 00000000 00000708"},
		{"no with an epoch", "000a 12 00 00000001 00000708"},
		{"control answer 4", "0002 12 04"},
		{"control ended by 4", "0002 14 04"},
		{"pause with a body", "0002 15 01"},
		{"epoch 0", "0005 17 00000000"},
		{"short epoch", "0004 17 000001"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if m, err := ReadMessage(bytes.NewReader(unhex(t, tt.hex))); !errors.Is(err, ErrMessage) {
				t.Errorf("read %+v, %v", m, err)
			}
		})
	}
}

func TestStreamEnds(t *testing.T) {
	whole := unhex(t, "0003 04 6869")
	for n := range whole {
		want := io.ErrUnexpectedEOF
		if n == 0 {
			want = io.EOF
		}
		if _, err := ReadMessage(bytes.NewReader(whole[:n])); !errors.Is(err, want) {
			t.Errorf("after %d bytes: %v, want %v", n, err, want)
		}
	}
}

func TestUnsendable(t *testing.T) {
	for _, m := range []Message{
		{}, {Type: 0x20}, {Type: Chat}, {Type: Chat, Text: strings.Repeat("a", 4097)}, {Type: Chat, Text: "\xff"},
		{Type: Chat, Text: "a", Epoch: 1}, {Type: Hello, Text: strings.Repeat("a", 65)}, {Type: Epoch}, {Type: Bye, Code: 200},
	} {
		if b, err := AppendMessage([]byte("x"), m); !errors.Is(err, ErrMessage) || string(b) != "x" {
			t.Errorf("%+v became %x, %v", m, b, err)
		}
	}
}

func TestInputFrames(t *testing.T) {
	key := unhex(t, "04 01 0000 00000061")
	b, err := AppendInput(nil, Input{Epoch: 7, Message: key})
	if want := unhex(t, "00000007 08 04 01 0000 00000061"); err != nil || !bytes.Equal(b, want) {
		t.Fatalf("%x, want %x (%v)", b, want, err)
	}
	var in Input
	if err := ReadInput(bytes.NewReader(b), &in); err != nil || in.Epoch != 7 || !bytes.Equal(in.Message, key) {
		t.Fatalf("%+v, %v", in, err)
	}
	r := bytes.NewReader(nil)
	if n := testing.AllocsPerRun(100, func() { r.Reset(b); _ = ReadInput(r, &in) }); n > 1 {
		t.Errorf("%v allocations a frame", n)
	}
	for _, s := range []string{"00000007 00", "00000007 21" + strings.Repeat("00", 33)} {
		if err := ReadInput(bytes.NewReader(unhex(t, s)), &in); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", s, err)
		}
	}
	for n := range b {
		want := io.ErrUnexpectedEOF
		if n == 0 {
			want = io.EOF
		}
		if err := ReadInput(bytes.NewReader(b[:n]), &in); !errors.Is(err, want) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	if _, err := AppendInput(nil, Input{Message: make([]byte, MaxInput+1)}); err == nil {
		t.Error("a long message was framed")
	}
}

func FuzzReadMessage(f *testing.F) {
	for text := range messages() {
		f.Add(unhex(f, text))
	}
	f.Add(unhex(f, "1004 04"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ReadMessage(bytes.NewReader(b))
		if err != nil {
			return
		}
		again, err := AppendMessage(nil, m)
		if err != nil || !bytes.HasPrefix(b, again) {
			t.Fatalf("%x was read as %+v, which is %x (%v)", b, m, again, err)
		}
	})
}

func FuzzReadInput(f *testing.F) {
	f.Add(unhex(f, "00000007 08 04 01 0000 00000061"))
	f.Add(unhex(f, "00000001 20"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var in Input
		if ReadInput(bytes.NewReader(b), &in) != nil {
			return
		}
		again, err := AppendInput(nil, in)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(b[:len(again)], again); d != "" {
			t.Fatal(d)
		}
	})
}
