package invite

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
)

// one case per rule of the strict reader.
func TestParseRules(t *testing.T) {
	good := string(exampleFile(t))
	replace := func(old, with string) string {
		t.Helper()
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the file", old)
		}
		return strings.Replace(good, old, with, 1)
	}
	utf16le := func(s string) string {
		b := []byte{0xff, 0xfe}
		for _, u := range utf16.Encode([]rune(s)) {
			b = append(b, byte(u), byte(u>>8))
		}
		return string(b)
	}
	const windows = `<?xml version="1.0"?><UPLOADINFO TYPE="Escalated"><UPLOADDATA USERNAME="A &amp; B" ` +
		`LHTICKET="00" RCTICKET="65538,1,192.0.2.1:3389,*,x,*,*,y" RCTICKETENCRYPTED="1" DtStart="1" DtLength="60" L="0"/></UPLOADINFO>`
	for _, c := range []struct {
		name, file string
		want       error
		reason     string // part of the message
	}{
		{"good", good, nil, ""},
		{"good, line feeds only", strings.ReplaceAll(good, "\r\n", "\n"), nil, ""},
		{"good, indented anew", replace("  <KDF", "\n\t\t<KDF"), nil, ""},
		{"good, no declaration", strings.TrimPrefix(good, declaration), nil, ""},
		{"good, 64 KiB", good + strings.Repeat("\n", MaxFile-len(good)), nil, ""},

		{"over 64 KiB", good + strings.Repeat("\n", MaxFile-len(good)+1), ErrNotInvitation, "longer than"},
		{"not UTF-8", replace("<KDF", "\xff<KDF"), ErrDamaged, "UTF-8"},
		{"UTF-16", utf16le(good), ErrNotInvitation, ""},
		{"byte order mark", "\ufeff" + good, ErrDamaged, ""},
		{"NUL", replace("<KDF", "\x00<KDF"), ErrDamaged, ""},
		{"DTD", replace("<UPLOADINFO", "<!DOCTYPE UPLOADINFO [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>\n<UPLOADINFO"), ErrDamaged, "DTD"},
		{"processing instruction", replace("<KDF", "<?php x?><KDF"), ErrDamaged, "processing instruction"},
		{"second declaration", replace("<UPLOADINFO", declaration+"<UPLOADINFO"), ErrDamaged, "processing instruction"},
		{"late declaration", "\n" + good, ErrDamaged, "processing instruction"},
		{"other declaration", replace("UTF-8", "ISO-8859-1"), ErrDamaged, "processing instruction"},
		{"comment", replace("<KDF", "<!-- x --><KDF"), ErrDamaged, "comment"},
		{"CDATA", replace("<DIGEST", "<![CDATA[x]]><DIGEST"), ErrDamaged, "CDATA"},
		{"entity", replace("argon2id", "&#97;rgon2id"), ErrDamaged, "entity"},
		{"duplicate attribute", replace(` TIME="1"`, ` TIME="1" TIME="1"`), ErrDamaged, "twice"},
		{"duplicate type", replace(` VERSION="1"`, ` VERSION="1" TYPE="Shipworm"`), ErrDamaged, "twice"},
		{"missing attribute", replace(` TIME="1"`, ``), ErrDamaged, "missing"},
		{"unknown attribute", replace(` TIME="1"`, ` TIME="1" X="1"`), ErrDamaged, `"X"`},
		{"attribute with prefix", replace(` TIME="1"`, ` a:TIME="1"`), ErrDamaged, "not expected"},
		{"namespace", replace(` VERSION="1"`, ` VERSION="1" xmlns="x"`), ErrDamaged, "not expected"},
		{"trailing element", good + "<KDF/>", ErrDamaged, "not expected"},
		{"trailing text", good + "x", ErrDamaged, ""},
		{"two roots", good + strings.TrimPrefix(good, declaration), ErrDamaged, "not expected"},
		{"unknown element", replace("<KDF", "<MORE/><KDF"), ErrDamaged, `"MORE"`},
		{"element twice", replace("<TICKET", "<KDF/><TICKET"), ErrDamaged, `"KDF"`},
		{"element missing", replace(good[strings.Index(good, "  <KDF"):strings.Index(good, "  <TICKET")], ""), ErrDamaged, `"TICKET"`},
		{"order", replace("<INVITATION", "<KDF/><INVITATION"), ErrDamaged, `"KDF"`},
		{"depth", replace("  </TICKET>", strings.Repeat("<TICKET>", 9)+strings.Repeat("</TICKET>", 9)+"</TICKET>"), ErrDamaged, "not expected"},
		{"depth without end", replace("  </TICKET>", strings.Repeat("<a>", 10000)), ErrDamaged, "not expected"},
		{"text between", replace("<KDF", "x<KDF"), ErrDamaged, "text"},
		{"lower-case element", replace("<KDF", "<kdf"), ErrDamaged, `"kdf"`},
		{"truncated", good[:len(good)/2], ErrDamaged, ""},
		{"root not closed", strings.TrimSuffix(good, "</UPLOADINFO>\r\n"), ErrDamaged, ""},
		{"empty", "", ErrNotInvitation, ""},
		{"another XML", "<html/>", ErrNotInvitation, ""},
		{"another type, our version", strings.ReplaceAll(good, "Shipworm", "shipworm"), ErrNotInvitation, ""},

		{"id in capitals", replace("0a0b0c", "0A0B0C"), ErrDamaged, "canonical"},
		{"id too short", replace("0a0b0c0d", "0a0b0c"), ErrDamaged, "digits"},
		{"time with offset", replace("21:24:00Z", "21:24:00+00:00"), ErrDamaged, "EXPIRES"},
		{"number with zero", replace(`TIME="1"`, `TIME="01"`), ErrDamaged, "canonical"},
		{"number with sign", replace(`TIME="1"`, `TIME="+1"`), ErrDamaged, "TIME"},
		{"number too large", replace(`TIME="1"`, `TIME="4294967296"`), ErrDamaged, "TIME"},
		{"another KDF", replace("argon2id", "scrypt"), ErrDamaged, "canonical"},
		{"another cipher", replace("XChaCha20-Poly1305", "none"), ErrDamaged, "canonical"},
		{"another digest", replace("SHA-256", "SHA-1"), ErrDamaged, "DIGEST"},
		{"no base64", replace("</TICKET>", "*</TICKET>"), ErrDamaged, "TICKET"},
		{"long ticket", replace("</TICKET>", strings.Repeat("AAAA", 4096)+"</TICKET>"), ErrDamaged, "TICKET"},

		{"version 2", replace(`VERSION="1"`, `VERSION="2" NEW="x"`), ErrDamaged, "not expected"},
		{"version 2, plain", replace(`VERSION="1"`, `VERSION="2"`), ErrVersion, "version 2"},
		{"version 0", replace(`VERSION="1"`, `VERSION="0"`), ErrVersion, "version 0"},
		{"version x", replace(`VERSION="1"`, `VERSION="x"`), ErrDamaged, ""},
		{"Windows", windows, ErrForeign, ""},
		{"Windows XP", utf16le(windows), ErrForeign, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := Parse([]byte(c.file))
			if c.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.Open(testPassword); err != nil {
					t.Fatal(err)
				}
				return
			}
			var format *FormatError
			if !errors.Is(err, c.want) || !errors.As(err, &format) || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("error %v, want %v with %q", err, c.want, c.reason)
			}
		})
	}
}

// hostile parameters are refused before any work is done.
func TestHostileCosts(t *testing.T) {
	for _, c := range []struct {
		costs costs
		ok    bool
	}{
		{costs{64 << 10, 3, 1}, true},
		{costs{256 << 10, 10, 4}, true},
		{costs{256<<10 + 1, 3, 1}, false},
		{costs{1<<32 - 1, 3, 1}, false},
		{costs{64 << 10, 11, 1}, false},
		{costs{64 << 10, 1<<32 - 1, 1}, false},
		{costs{64 << 10, 0, 1}, false},
		{costs{0, 3, 1}, false},
		{costs{8<<10 - 1, 3, 1}, false},
		{costs{64 << 10, 3, 0}, false},
		{costs{64 << 10, 3, 5}, false},
		{costs{64 << 10, 3, 255}, false},
	} {
		t.Run(fmt.Sprint(c.costs), func(t *testing.T) {
			f := &File{head: exampleHeader(c.costs), ticket: make([]byte, 272)}
			f.head.created, f.head.expires = example().Created, example().Expires
			f.aad = f.head.appendTo(nil)
			f.digest = f.sum()
			_, err := Parse(f.encode()) // would take hours, or all memory, if it paid before it asked
			if c.ok && err != nil || !c.ok && !errors.Is(err, ErrCost) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// a flip of any bit of the file is noticed, or changes nothing that the
// file says. Where the attacker corrects the digest, the seal notices.
func TestBitFlips(t *testing.T) {
	good := exampleFile(t)
	ref, err := Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	harmless := 0
	for i := range len(good) * 8 {
		file := bytes.Clone(good)
		file[i/8] ^= 1 << (i % 8)
		f, err := Parse(file)
		if err != nil {
			continue
		}
		if !bytes.Equal(f.aad, ref.aad) || !bytes.Equal(f.ticket, ref.ticket) {
			t.Fatalf("bit %d changed the meaning unnoticed:\n%s", i, file)
		}
		harmless++
	}
	if harmless > len(good)/4 { // white space that became other white space
		t.Errorf("%d harmless flips of %d", harmless, len(good)*8)
	}
}

// the header is associated data: with a corrected digest the file
// parses, but does not open.
func TestHeaderIsSealed(t *testing.T) {
	good, err := Parse(exampleFile(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*File)
	}{
		{"nothing", func(*File) {}},
		{"id", func(f *File) { f.head.id[3] ^= 1 }},
		{"created", func(f *File) { f.head.created = f.head.created.Add(time.Second) }},
		{"expires", func(f *File) { f.head.expires = f.head.expires.Add(time.Hour) }},
		{"memory", func(f *File) { f.head.costs.memory++ }},
		{"time", func(f *File) { f.head.costs.time++ }},
		{"threads", func(f *File) { f.head.costs.threads++ }},
		{"salt", func(f *File) { f.head.salt[0] ^= 1 }},
		{"nonce", func(f *File) { f.head.nonce[0] ^= 1 }},
		{"first byte of the ticket", func(f *File) { f.ticket[0] ^= 1 }},
		{"last byte of the ticket", func(f *File) { f.ticket[len(f.ticket)-1] ^= 1 }},
		{"shorter ticket", func(f *File) { f.ticket = f.ticket[:len(f.ticket)-1] }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &File{head: good.head, ticket: bytes.Clone(good.ticket)}
			c.change(f)
			f.aad = f.head.appendTo(nil)
			f.digest = f.sum()
			g, err := Parse(f.encode())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := g.Open(testPassword); errors.Is(err, ErrPassword) != (c.name != "nothing") {
				t.Errorf("Open: %v", err)
			}
		})
	}
}

func TestTicketRules(t *testing.T) {
	good := appendTicket(nil, example())
	count := 16 + 32 + 1 + len(example().User)
	edit := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(good)) }
	for _, c := range []struct {
		name   string
		ticket []byte
		ok     bool
	}{
		{"good", good, true},
		{"empty", nil, false},
		{"odd length", good[:len(good)-1], false},
		{"superfluous padding", edit(func(b []byte) []byte { return append(b, make([]byte, ticketPad)...) }), false},
		{"padding not zero", edit(func(b []byte) []byte { b[len(b)-1] = 1; return b }), false},
		{"too long", make([]byte, maxTicket+ticketPad), false},
		{"all zero", make([]byte, ticketPad), false},
		{"too many candidates", edit(func(b []byte) []byte { b[count] = 17; return b }), false},
		{"more candidates than there are", edit(func(b []byte) []byte { b[count] = 16; return b }), false},
		{"no candidates", edit(func(b []byte) []byte { b[count] = 0; return b }), false},
		{"address of 5 bytes", edit(func(b []byte) []byte { b[count+1+7] = 5; return b }), false},
		{"user name overlong", edit(func(b []byte) []byte { b[48] = 255; return b }), false},
		{"user name not printable", edit(func(b []byte) []byte { b[49] = 7; return b }), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inv := &Invitation{Version: Version, Created: example().Created, Expires: example().Expires}
			if err := decodeTicket(c.ticket, inv); (err == nil) != c.ok {
				t.Errorf("error %v", err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	good := exampleFile(f)
	f.Add(good)
	f.Add(bytes.ReplaceAll(good, []byte("\r\n"), []byte("\n")))
	f.Add([]byte(`<UPLOADINFO TYPE="Shipworm" VERSION="1"><INVITATION/></UPLOADINFO>`))
	f.Add([]byte(`<?xml version="1.0"?><UPLOADINFO TYPE="Escalated"><UPLOADDATA USERNAME="a"/></UPLOADINFO>`))
	f.Add([]byte("<!DOCTYPE x><UPLOADINFO TYPE=\"Shipworm\">"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse(data)
		if err != nil {
			var format *FormatError
			if !errors.As(err, &format) {
				t.Fatalf("error %v is no FormatError", err)
			}
			return
		}
		// Whatever parses can be written again and means the same.
		again, err := Parse(file.encode())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.aad, file.aad) || !bytes.Equal(again.ticket, file.ticket) {
			t.Fatal("another meaning after writing")
		}
	})
}

func FuzzTicket(f *testing.F) {
	f.Add(appendTicket(nil, example()))
	f.Add(make([]byte, ticketPad))
	f.Fuzz(func(t *testing.T, ticket []byte) {
		inv := &Invitation{Version: Version, Created: example().Created, Expires: example().Expires}
		if err := decodeTicket(ticket, inv); err != nil {
			return
		}
		if got := appendTicket(nil, inv); !bytes.Equal(got, ticket) {
			t.Fatal(cmp.Diff(ticket, got))
		}
	})
}

func FuzzNormalize(f *testing.F) {
	f.Add(testPassword)
	f.Add("iLoU 0000\u2014abcd")
	f.Fuzz(func(t *testing.T, typed string) {
		canonical, err := Normalize(typed)
		if err != nil {
			return
		}
		if again, err := Normalize(canonical); err != nil || again != canonical {
			t.Fatalf("%q: %q, then %q, %v", typed, canonical, again, err)
		}
	})
}
