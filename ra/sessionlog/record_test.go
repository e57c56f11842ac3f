package sessionlog

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func at(min int) time.Time { return time.Date(2006, 8, 9, 15, 24+min, 0, 0, time.Local) }

// The attributes are printed as the source prints them.
func TestRecordAsTheSourcePrintsIt(t *testing.T) {
	got, err := appendRecord(nil, Record{Time: at(0), Event: InvitationOpened, Text: "A Remote Assistance invitation has been opened."})
	want := `<INVITATION_OPENED TIME="3:24 PM" DATE="Wednesday, August 09, 2006" EVENT="A Remote Assistance invitation has been opened."/>` + "\n"
	if err != nil || string(got) != want {
		t.Fatalf("got  %s\nwant %s (%v)", got, want, err)
	}
}

// hostile is what a peer might write into a log.
func hostile() []string {
	return []string{
		`</CHAT_MESSAGE><CONNECTION_ENDED/>`,
		`"/><CONNECTION_ENDED TIME="1:00 AM" DATE="Monday, January 01, 2001" EVENT="x`,
		"</SESSION>\n<SESSION>\n",
		"two\nlines\r\nand\ttabs",
		`&lt;b&gt; &amp; &#10; &unknown; ' "`,
		"<!-- <![CDATA[ ]]> --> <?xml version=\"1.0\"?> <!DOCTYPE a>",
		"Größe 你好 👍 \u202E",
		"",
	}
}

// hostile text comes back as text, and adds no element.
func TestHostileTextRoundTrip(t *testing.T) {
	b := []byte(header)
	var want []Record
	for i, s := range hostile() {
		r := Record{Time: at(i), Event: ChatMessage, Text: s}
		want = append(want, r)
		var err error
		if b, err = appendRecord(b, r); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Read(bytes.NewReader(append(b, trailer...)))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if n := bytes.Count(b, []byte("\n")) - bytes.Count([]byte(header), []byte("\n")); n != len(want) {
		t.Errorf("%d lines for %d records", n, len(want))
	}
}

// a name that is no constant of ours is never written.
func TestUnknownEventIsRefused(t *testing.T) {
	for _, name := range []string{"", "SESSION", "EVIL", `A B="1"><EVIL`} {
		if b, err := appendRecord(nil, Record{Event: name}); !errors.Is(err, ErrEvent) || len(b) > 0 {
			t.Errorf("%q: wrote %q, %v", name, b, err)
		}
	}
}

func TestLongTextIsCutBetweenCharacters(t *testing.T) {
	for _, unit := range []string{"a", "é", "👍"} {
		b, err := appendRecord(nil, Record{Time: at(0), Event: ChatMessage, Text: strings.Repeat(unit, MaxText)})
		if err != nil {
			t.Fatal(err)
		}
		recs, err := Read(bytes.NewReader([]byte(header + string(b) + trailer)))
		if err != nil {
			t.Fatal(err)
		}
		if got := recs[0].Text; len(got) > MaxText || len(got) < MaxText-3 || !utf8.ValidString(got) || strings.Contains(got, "\uFFFD") {
			t.Errorf("%q: %d bytes kept", unit, len(got))
		}
	}
}

func TestReadRefuses(t *testing.T) {
	good := `<CHAT_MESSAGE TIME="3:24 PM" DATE="Wednesday, August 09, 2006" EVENT="x"/>`
	if _, err := Read(strings.NewReader(header + good + trailer)); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]string{
		"empty":           "",
		"no closing tag":  header + good,
		"half a record":   header + good[:40] + trailer,
		"other root":      strings.ReplaceAll(header+good+trailer, "SESSION", "LOG"),
		"second root":     header + trailer + "<SESSION/>",
		"unknown element": header + "<EVIL/>" + trailer,
		"nested":          header + strings.Replace(good, "/>", "><CHAT_MESSAGE/></CHAT_MESSAGE>", 1) + trailer,
		"other attribute": header + strings.Replace(good, "EVENT", "TEXT", 1) + trailer,
		"fourth":          header + strings.Replace(good, "EVENT", `A="" EVENT`, 1) + trailer,
		"bad time":        header + strings.Replace(good, "3:24", "33:24", 1) + trailer,
		"loose text":      header + "text" + trailer,
	} {
		if recs, err := Read(strings.NewReader(s)); err == nil {
			t.Errorf("%s: read as %v", name, recs)
		}
	}
}

// Whatever the text is, the log stays one well-formed document of as many
// elements as records.
func FuzzRecord(f *testing.F) {
	for _, s := range hostile() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b, err := appendRecord([]byte(header), Record{Time: at(0), Event: ChatMessage, Text: text})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = Read(bytes.NewReader(append(b, trailer...))); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		d, n := xml.NewDecoder(bytes.NewReader(b)), 0
		for {
			tok, err := d.Token()
			if err == io.EOF || tok == nil {
				break
			}
			if _, ok := tok.(xml.StartElement); ok {
				n++
			}
		}
		if n != 2 {
			t.Fatalf("%d elements in %q, want 2", n, b)
		}
	})
}

func FuzzRepair(f *testing.F) {
	whole, _ := appendRecord([]byte(header), Record{Time: at(0), Event: ChatMessage, Text: "a"})
	f.Add([]byte{})
	f.Add(whole)
	f.Add(append(whole, trailer...))
	f.Add(append(whole, 0, 0, 0))
	f.Fuzz(func(t *testing.T, torn []byte) {
		fixed := Repair(torn, at(0))
		if _, err := Read(bytes.NewReader(fixed)); err != nil {
			t.Fatalf("%q was repaired to %q: %v", torn, fixed, err)
		}
	})
}
