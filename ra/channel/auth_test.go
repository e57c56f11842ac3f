package channel

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"shipworm/ra/invite"
	"shipworm/ra/pake"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite testdata")

// A wire carries messages between the two sides of an exchange, each Write one
// message; edit may change them on the way.
type wire struct {
	in, out chan []byte
	rest    []byte
	edit    func([]byte) []byte
}

func newWire(edit func(toUser bool, message []byte) []byte) (helper, user *wire) {
	a, b := make(chan []byte, 4), make(chan []byte, 4)
	helper = &wire{in: a, out: b, edit: func(m []byte) []byte { return edit(true, m) }}
	user = &wire{in: b, out: a, edit: func(m []byte) []byte { return edit(false, m) }}
	return helper, user
}

func (w *wire) Write(p []byte) (int, error) {
	w.out <- w.edit(bytes.Clone(p))
	return len(p), nil
}

func (w *wire) Read(p []byte) (int, error) {
	if len(w.rest) == 0 {
		m, ok := <-w.in
		if !ok {
			return 0, io.ErrUnexpectedEOF
		}
		w.rest = m
	}
	n := copy(p, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

func same(_ bool, m []byte) []byte { return m }

// exchange runs both sides and returns what each says. A side that fails hangs
// up, as it does by closing its connection.
func exchange(hb, ub binding, hs, us []byte, edit func(bool, []byte) []byte) (helper, user error) {
	hw, uw := newWire(edit)
	var wg sync.WaitGroup
	wg.Go(func() {
		helper = authenticateHelper(hw, hb, hs, nil)
		close(hw.out)
	})
	wg.Go(func() {
		user = authenticateUser(uw, ub, func() ([]byte, error) { return bytes.Clone(us), nil }, nil)
		close(uw.out)
	})
	wg.Wait()
	return helper, user
}

func fixedBinding() binding {
	return binding{id: [16]byte{1, 2, 3}, exporter: bytes.Repeat([]byte{7}, 32)}
}

// whatever the two sides do not share, they are not connected.
func TestExchangeBinding(t *testing.T) {
	inv := &invite.Invitation{FileSecret: [16]byte{1}}
	secret, err := pakeSecret(inv, password)
	if err != nil {
		t.Fatal(err)
	}
	wrong, _ := pakeSecret(inv, wrongWord)
	otherFile, _ := pakeSecret(&invite.Invitation{FileSecret: [16]byte{2}}, password)
	for _, c := range []struct {
		name   string
		change func(b *binding, secret *[]byte)
		ok     bool
	}{
		{"equal", func(*binding, *[]byte) {}, true},
		{"password", func(_ *binding, s *[]byte) { *s = wrong }, false},
		{"file secret", func(_ *binding, s *[]byte) { *s = otherFile }, false},
		{"invitation id", func(b *binding, _ *[]byte) { b.id[15]++ }, false},
		{"exporter", func(b *binding, _ *[]byte) { b.exporter = bytes.Repeat([]byte{8}, 32) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			ub, us := fixedBinding(), secret
			c.change(&ub, &us)
			helper, user := exchange(fixedBinding(), ub, secret, us, same)
			if (helper == nil) != c.ok || (user == nil) != c.ok {
				t.Errorf("%v, %v", helper, user)
			}
			if !c.ok && (!errors.Is(helper, ErrPassword) || !errors.Is(user, ErrPassword) || !errors.Is(user, invite.ErrPassword)) {
				t.Errorf("%v, %v: want ErrPassword", helper, user)
			}
		})
	}
}

// a man in the middle who terminates TLS, and forwards the exchange, has
// two exporters: 0 sessions in 1,000.
func TestExchangeMiddle(t *testing.T) {
	secret, _ := pakeSecret(&invite.Invitation{FileSecret: [16]byte{1}}, password)
	runs := 1000
	if testing.Short() || raceEnabled {
		runs = 50
	}
	for i := range runs {
		hb, ub := fixedBinding(), fixedBinding()
		hb.exporter = bytes.Repeat([]byte{byte(i)}, 32)
		ub.exporter = append(bytes.Repeat([]byte{byte(i)}, 31), byte(i)+1)
		if helper, user := exchange(hb, ub, secret, secret, same); helper == nil || user == nil {
			t.Fatalf("run %d: %v, %v", i, helper, user)
		}
	}
}

// a flip of any bit of any message, the version included, keeps
// the User's side from opening a session; a cut message does, too.
func TestExchangeBitFlips(t *testing.T) {
	secret, _ := pakeSecret(&invite.Invitation{FileSecret: [16]byte{1}}, password)
	b := fixedBinding()
	sizes := []int{helloSize, answerSize, confirmSize}
	for message, size := range sizes {
		step := 1
		if testing.Short() || raceEnabled {
			step = 9 // a bit of each byte, another one each time
		}
		for bit := 0; bit < size*8; bit += step {
			seen := 0
			helper, user := exchange(b, b, secret, secret, func(toUser bool, m []byte) []byte {
				index := 1 // the answer is the only message of the User
				if toUser {
					index = seen * 2
					seen++
				}
				if len(m) != sizes[index] {
					t.Errorf("message %d has %d bytes", index+1, len(m))
				}
				if index == message {
					m[bit/8] ^= 1 << (bit % 8)
				}
				return m
			})
			if user == nil {
				t.Fatalf("message %d, bit %d: the User accepted", message+1, bit)
			}
			if message < 2 && helper == nil {
				t.Fatalf("message %d, bit %d: the Helper accepted", message+1, bit)
			}
		}
	}
}

// Messages reflected to their sender are worth nothing.
func TestExchangeReflection(t *testing.T) {
	secret, _ := pakeSecret(&invite.Invitation{FileSecret: [16]byte{1}}, password)
	mirror := &bytes.Buffer{}
	if err := authenticateHelper(mirror, fixedBinding(), secret, nil); err == nil {
		t.Error("the Helper accepted his own message")
	}
}

// counter is a source of "random" bytes for the known answer.
type counter byte

func (c *counter) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(*c)
		*c++
	}
	return len(p), nil
}

// A known answer for other implementations: testdata/v1.json.
func TestKnownAnswer(t *testing.T) {
	inv := &invite.Invitation{}
	for i := range inv.ID {
		inv.ID[i], inv.FileSecret[i] = byte(i), byte(0x40+i)
	}
	secret, err := pakeSecret(inv, password)
	if err != nil {
		t.Fatal(err)
	}
	b := binding{id: inv.ID, exporter: bytes.Repeat([]byte{0x5a}, 32)}
	hr, ur := counter(0), counter(0x80)
	helper, first, err := hello(pake.Initiator, b, secret, &hr)
	if err != nil {
		t.Fatal(err)
	}
	user, second, err := hello(pake.Responder, b, secret, &ur)
	if err != nil {
		t.Fatal(err)
	}
	hs, err := meet(helper, pake.Responder, second)
	if err != nil {
		t.Fatal(err)
	}
	us, err := meet(user, pake.Initiator, first)
	if err != nil {
		t.Fatal(err)
	}
	ht, ut, key := hs.Tag(), us.Tag(), hs.Key()
	if hs.Verify(ut[:]) != nil || us.Verify(ht[:]) != nil {
		t.Fatal("not confirmed")
	}
	datagram := bytes.Repeat([]byte{0xc3}, 1200)
	tag := func(label string) string {
		s := newTagger(inv, label).get()
		return hex.EncodeToString(s.sum(nil, datagram))
	}
	in := b.input(secret, associated("helper", version, first[1:1+nonceSize]), nil)
	answer, err := json.MarshalIndent(map[string]string{
		"invitation_id":        hex.EncodeToString(inv.ID[:]),
		"file_secret":          hex.EncodeToString(inv.FileSecret[:]),
		"password":             password,
		"datagram":             "1200 x c3",
		"tag_helper_to_user":   tag(toUser),
		"tag_user_to_helper":   tag(toHelper),
		"tls_exporter":         hex.EncodeToString(b.exporter),
		"cpace_prs":            hex.EncodeToString(secret),
		"cpace_ci":             hex.EncodeToString(in.Channel),
		"cpace_ad_helper":      hex.EncodeToString(in.Data),
		"cpace_ad_user":        hex.EncodeToString(associated("user", version, second[1:1+nonceSize])),
		"cpace_scalar_helper":  "64 bytes 20 21 22 ..., reduced",
		"cpace_scalar_user":    "64 bytes a0 a1 a2 ..., reduced",
		"cpace_isk":            hex.EncodeToString(key[:]),
		"message_1_helper":     hex.EncodeToString(first),
		"message_2_user":       hex.EncodeToString(append(second, ut[:]...)),
		"message_3_helper":     hex.EncodeToString(ht[:]),
		"tls_exporter_label":   exporterLabel,
		"tls_exporter_context": hex.EncodeToString(b.id[:]),
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	answer = append(answer, '\n')
	path := filepath.Join("testdata", "v1.json")
	if *update {
		if err := os.WriteFile(path, answer, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(answer)); diff != "" {
		t.Error(diff)
	}
}

// The User's side takes anything in the place of the Helper's messages.
func FuzzAuthenticateUser(f *testing.F) {
	secret, _ := pakeSecret(&invite.Invitation{FileSecret: [16]byte{1}}, password)
	_, first, err := hello(pake.Initiator, fixedBinding(), secret, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(first)
	f.Add(append(bytes.Clone(first), make([]byte, confirmSize)...))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, peer []byte) {
		rw := struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(peer), io.Discard}
		begun := false
		err := authenticateUser(rw, fixedBinding(), func() ([]byte, error) {
			begun = true
			return bytes.Clone(secret), nil
		}, nil)
		if err == nil {
			t.Fatal("accepted")
		}
		if begun != (len(peer) >= helloSize) || begun != errors.Is(err, ErrPassword) {
			t.Fatalf("%d bytes: counted %v, %v", len(peer), begun, err)
		}
	})
}

func FuzzAuthenticateHelper(f *testing.F) {
	secret, _ := pakeSecret(&invite.Invitation{FileSecret: [16]byte{1}}, password)
	_, first, err := hello(pake.Responder, fixedBinding(), secret, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(bytes.Clone(first), make([]byte, pake.TagSize)...))
	f.Fuzz(func(t *testing.T, peer []byte) {
		rw := struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(peer), io.Discard}
		if err := authenticateHelper(rw, fixedBinding(), secret, nil); err == nil {
			t.Fatal("accepted")
		}
	})
}
