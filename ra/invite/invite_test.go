package invite

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite testdata")

const testPassword = "7K2M-Q9TX-04WF"

// cheap makes tests fast; a reader accepts it.
var cheap = costs{memory: minMemory, time: 1, threads: 1}

func example() *Invitation {
	inv := &Invitation{
		Version: Version,
		User:    "Ada Lovelace",
		Created: time.Date(2026, 8, 9, 15, 24, 0, 0, time.UTC),
		Expires: time.Date(2026, 8, 9, 21, 24, 0, 0, time.UTC),
		Candidates: []Candidate{
			{"teredo", netip.MustParseAddrPort("[2001:0:cb00:7101:0:f227:3fff:fdd2]:51234")},
			{"ipv6", netip.MustParseAddrPort("[2001:db8::7]:51235")},
			{"lan", netip.MustParseAddrPort("192.168.1.20:51236")},
		},
	}
	for i := range inv.ID {
		inv.ID[i], inv.FileSecret[i] = byte(i), byte(0x40+i)
	}
	for i := range inv.CertHash {
		inv.CertHash[i] = byte(0x80 + i)
	}
	return inv
}

func exampleHeader(c costs) header {
	h := header{version: Version, costs: c}
	for i := range h.salt {
		h.salt[i] = byte(0x10 + i)
	}
	for i := range h.nonce {
		h.nonce[i] = byte(0x20 + i)
	}
	return h
}

func exampleFile(t testing.TB) []byte {
	t.Helper()
	file, err := example().seal(testPassword, exampleHeader(cheap))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func sameAddr(a, b netip.AddrPort) bool { return a == b }

func TestRoundTrip(t *testing.T) {
	want, err := New("Ada", 0, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	want.Candidates, want.CertHash = example().Candidates, example().CertHash
	password := NewPassword()
	file, err := want.Seal(password)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	if f.ID() != want.ID || !f.Created().Equal(want.Created) || !f.Expires().Equal(want.Expires) {
		t.Errorf("header: %x, %v to %v", f.ID(), f.Created(), f.Expires())
	}
	if f.Expires().Sub(f.Created()) != DefaultLife {
		t.Errorf("life = %v", f.Expires().Sub(f.Created()))
	}
	got, err := f.Open(strings.ToLower(strings.ReplaceAll(password, "-", " ")))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(sameAddr)); diff != "" {
		t.Error(diff)
	}
	if _, err := f.Open(NewPassword()); !errors.Is(err, ErrPassword) {
		t.Errorf("wrong password: %v", err)
	}
}

// the life is bounded; the file's own date is a hint.
func TestLife(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC)
	for _, c := range []struct {
		life time.Duration
		ok   bool
	}{{0, true}, {time.Minute, true}, {MaxLife, true}, {MaxLife + time.Second, false}, {-time.Second, false}, {time.Millisecond, false}} {
		if _, err := New("", c.life, now); (err == nil) != c.ok {
			t.Errorf("life %v: %v", c.life, err)
		}
	}
	f, err := Parse(exampleFile(t))
	if err != nil {
		t.Fatal(err)
	}
	if f.Expired(f.Expires().Add(-time.Second)) || !f.Expired(f.Expires()) {
		t.Error("Expired changes at another moment than Expires")
	}
}

// nothing is sealed without a secret, and every problem is reported.
func TestSealRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Invitation)
		want   string
	}{
		{"no file secret", func(i *Invitation) { i.FileSecret = [16]byte{} }, "no file secret"},
		{"no certificate", func(i *Invitation) { i.CertHash = [32]byte{} }, "no certificate hash"},
		{"no candidate", func(i *Invitation) { i.Candidates = nil }, "0 candidates"},
		{"too many", func(i *Invitation) { i.Candidates = make([]Candidate, 17) }, "17 candidates"},
		{"kind", func(i *Invitation) { i.Candidates[0].Kind = "Teredo" }, `kind "Teredo"`},
		{"port", func(i *Invitation) { i.Candidates[0].Addr = netip.AddrPortFrom(netip.IPv6Loopback(), 0) }, "no address and port"},
		{"zone", func(i *Invitation) { i.Candidates[0].Addr = netip.MustParseAddrPort("[fe80::1%eth0]:1") }, "zone"},
		{"mapped", func(i *Invitation) { i.Candidates[0].Addr = netip.MustParseAddrPort("[::ffff:1.2.3.4]:1") }, "IPv6 form"},
		{"multicast", func(i *Invitation) { i.Candidates[0].Addr = netip.MustParseAddrPort("[ff02::1]:1") }, "no unicast"},
		{"user", func(i *Invitation) { i.User = "a\x1b[31mb" }, "U+001B"},
		{"user length", func(i *Invitation) { i.User = strings.Repeat("x", 129) }, "129 bytes"},
		{"version", func(i *Invitation) { i.Version = 2 }, "version 2"},
		{"fraction", func(i *Invitation) { i.Created = i.Created.Add(time.Millisecond) }, "whole seconds"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inv := example()
			c.change(inv)
			if _, err := inv.seal(testPassword, exampleHeader(cheap)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	for _, password := range []string{"", "short", "7K2M-Q9TX-04W"} {
		if _, err := example().seal(password, exampleHeader(cheap)); !errors.Is(err, ErrPassword) {
			t.Errorf("password %q: %v", password, err)
		}
	}
}

// 12 letters of 32, from crypto/rand, without look-alikes.
func TestNewPassword(t *testing.T) {
	seen, letters := map[string]bool{}, map[rune]int{}
	for range 4096 {
		p := NewPassword()
		if canonical, err := Normalize(p); err != nil || canonical != p || len(p) != 14 {
			t.Fatalf("%q: %q, %v", p, canonical, err)
		}
		if seen[p] {
			t.Fatalf("%q twice", p)
		}
		seen[p] = true
		for _, r := range p {
			letters[r]++
		}
	}
	for _, r := range "ILOU" {
		if letters[r] != 0 {
			t.Errorf("%c is a look-alike", r)
		}
	}
	delete(letters, '-')
	if len(letters) != 32 {
		t.Errorf("%d letters", len(letters))
	}
	for r, n := range letters { // 1536 expected; ten standard deviations are 385
		if n < 1150 || n > 1925 {
			t.Errorf("%c occurs %d times", r, n)
		}
	}
}

//
func TestNormalize(t *testing.T) {
	for _, c := range []struct{ typed, want string }{
		{"7K2M-Q9TX-04WF", "7K2M-Q9TX-04WF"},
		{"7k2mq9tx04wf", "7K2M-Q9TX-04WF"},
		{"  7K2M Q9TX 04WF\r\n", "7K2M-Q9TX-04WF"},
		{"7k2m\u2013q9tx\u2014o4wf", "7K2M-Q9TX-04WF"},
		{"iLoU-0000-0000", "110V-0000-0000"},
		{"7.K.2.M_Q9TX_04WF", "7K2M-Q9TX-04WF"},
		{"", ""}, {"7K2M-Q9TX-04W", ""}, {"7K2M-Q9TX-04WFF", ""}, {"7K2M-Q9TX-04W!", ""},
		{"7K2M-Q9TX-04W\x00", ""}, {"7K2M-Q9TX-04W\u0424", ""}, {"\xff7K2MQ9TX04W", ""}, {"7K2M-Q9TX-04W\uff26", ""},
	} {
		got, err := Normalize(c.typed)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: %q, %v; want %q", c.typed, got, err, c.want)
		}
		if err != nil && !errors.Is(err, ErrPassword) {
			t.Errorf("%q: %v is no ErrPassword", c.typed, err)
		}
	}
}

// no verb of fmt and no log handler shows the file secret.
func TestSecretsAreNotPrinted(t *testing.T) {
	inv := example()
	copy(inv.FileSecret[:], "CANARY-CANARY-16")
	var b bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		fmt.Fprintf(&b, verb+"\n", inv)
		fmt.Fprintf(&b, verb+"\n", *inv)
	}
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "inv", inv, "value", *inv)
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "inv", inv, "value", *inv)
	_, err := Normalize("CANARY-CANARY-CANARY-CANARY")
	fmt.Fprintln(&b, err)
	out := b.String()
	for _, secret := range []string{"CANARY", hex.EncodeToString([]byte("CANARY")), "67 65 78 65 82 89"} {
		if strings.Contains(strings.ToUpper(out), strings.ToUpper(secret)) {
			t.Errorf("output shows %q:\n%s", secret, out)
		}
	}
}

// A known answer for other implementations: testdata/v1.json has each step of
// making testdata/v1.MsRcIncident.
func TestKnownAnswer(t *testing.T) {
	h := exampleHeader(costs{sealMemory, sealTime, sealThreads})
	inv := example()
	file, err := inv.seal(testPassword, h)
	if err != nil {
		t.Fatal(err)
	}
	h.id, h.created, h.expires = inv.ID, inv.Created, inv.Expires
	f, err := Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := json.MarshalIndent(map[string]any{
		"password":         testPassword,
		"id":               hex.EncodeToString(inv.ID[:]),
		"file_secret":      hex.EncodeToString(inv.FileSecret[:]),
		"certificate_hash": hex.EncodeToString(inv.CertHash[:]),
		"user":             inv.User,
		"candidates":       inv.Candidates,
		"salt":             hex.EncodeToString(h.salt[:]),
		"nonce":            hex.EncodeToString(h.nonce[:]),
		"associated_data":  string(h.appendTo(nil)),
		"key":              hex.EncodeToString(h.costs.key(testPassword, h.salt[:])),
		"ticket_plaintext": hex.EncodeToString(appendTicket(nil, inv)),
		"ticket_sealed":    hex.EncodeToString(f.ticket),
		"digest":           hex.EncodeToString(f.digest[:]),
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]byte{"v1.MsRcIncident": file, "v1.json": append(answer, '\n')} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if _, err := f.Open(testPassword); err != nil {
		t.Error(err)
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	for _, content := range []string{"first", "second"} {
		if err := Write(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != content {
			t.Fatalf("%q, %v", got, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if err := Write(filepath.Join(dir, "missing", "x"), nil); err == nil {
		t.Error("no error for a missing folder")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func BenchmarkOpen(b *testing.B) {
	file, err := example().Seal(testPassword)
	if err != nil {
		b.Fatal(err)
	}
	f, err := Parse(file)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Open(testPassword); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	file := exampleFile(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(file); err != nil {
			b.Fatal(err)
		}
	}
}
