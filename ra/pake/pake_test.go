package pake

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// run lets two sides meet and returns what each says of the other's tag.
func run(t testing.TB, a, b Input) (errA, errB error, same bool) {
	t.Helper()
	xa, err := New(Initiator, a)
	if err != nil {
		t.Fatal(err)
	}
	xb, err := New(Responder, b)
	if err != nil {
		t.Fatal(err)
	}
	shareA, shareB := xa.Share(), xb.Share()
	sa, err := xa.Finish(shareB[:], b.Data)
	if err != nil {
		t.Fatal(err)
	}
	sb, err := xb.Finish(shareA[:], a.Data)
	if err != nil {
		t.Fatal(err)
	}
	tagA, tagB := sa.Tag(), sb.Tag()
	return sa.Verify(tagB[:]), sb.Verify(tagA[:]), sa.Key() == sb.Key()
}

// R-02: any input that differs makes both sides refuse.
func TestInputsMustAgree(t *testing.T) {
	base := func() (Input, Input) {
		in := Input{Secret: []byte("s"), Channel: []byte("c"), SID: []byte("i")}
		a, b := in, in
		a.Data, b.Data = []byte("a"), []byte("b")
		return a, b
	}
	for _, c := range []struct {
		name   string
		change func(a, b *Input)
		agree  bool
	}{
		{"equal", func(a, b *Input) {}, true},
		{"secret", func(a, b *Input) { b.Secret = []byte("t") }, false},
		{"secret length", func(a, b *Input) { b.Secret = []byte("ss") }, false},
		{"channel", func(a, b *Input) { b.Channel = []byte("d") }, false},
		{"session id", func(a, b *Input) { b.SID = []byte("j") }, false},
		{"shifted border", func(a, b *Input) { b.Channel, b.SID = []byte("ci"), nil }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := base()
			c.change(&a, &b)
			errA, errB, same := run(t, a, b)
			if same != c.agree || (errA == nil) != c.agree || (errB == nil) != c.agree {
				t.Errorf("same key %v, errors %v and %v; want agreement %v", same, errA, errB, c.agree)
			}
			if !c.agree && (!errors.Is(errA, ErrConfirm) || !errors.Is(errB, ErrConfirm)) {
				t.Errorf("errors %v and %v, want ErrConfirm", errA, errB)
			}
		})
	}
}

// R-02: associated data is authenticated though it is sent in clear.
func TestAssociatedData(t *testing.T) {
	in := Input{Secret: []byte("s"), Data: []byte("mine")}
	a, _ := New(Initiator, in)
	b, _ := New(Responder, in)
	shareA, shareB := a.Share(), b.Share()
	sa, err := a.Finish(shareB[:], []byte("forged"))
	if err != nil {
		t.Fatal(err)
	}
	sb, err := b.Finish(shareA[:], []byte("mine"))
	if err != nil {
		t.Fatal(err)
	}
	tag := sb.Tag()
	if err := sa.Verify(tag[:]); !errors.Is(err, ErrConfirm) {
		t.Errorf("forged data: %v", err)
	}
}

func TestRoles(t *testing.T) {
	in := Input{Secret: []byte("s")}
	a, _ := New(Initiator, in)
	b, _ := New(Initiator, in)
	shareA, shareB := a.Share(), b.Share()
	sa, _ := a.Finish(shareB[:], nil)
	sb, _ := b.Finish(shareA[:], nil)
	if sa.Key() == sb.Key() {
		t.Error("two initiators agreed on a key")
	}
}

func TestReflectionAndReuse(t *testing.T) {
	a, b := vectorPair(t)
	own := a.Share()
	if _, err := a.Finish(own[:], []byte("ADa")); !errors.Is(err, ErrShare) {
		t.Errorf("own share: %v", err)
	}
	share := b.Share()
	if _, err := a.Finish(share[:], []byte("ADb")); !errors.Is(err, ErrShare) {
		t.Errorf("second Finish: %v", err)
	}
	for _, n := range []int{0, 31, 33} {
		_, b := vectorPair(t)
		if _, err := b.Finish(make([]byte, n), nil); !errors.Is(err, ErrShare) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// R-02: a flip of any bit of a share or a tag makes the run fail.
func TestBitFlips(t *testing.T) {
	for i := range ShareSize * 8 {
		a, b := vectorPair(t)
		share, shareA := b.Share(), a.Share()
		share[i/8] ^= 1 << (i % 8)
		sa, err := a.Finish(share[:], []byte("ADb"))
		if err != nil {
			continue
		}
		sb, err := b.Finish(shareA[:], []byte("ADa"))
		if err != nil {
			t.Fatal(err)
		}
		if tag := sb.Tag(); sa.Verify(tag[:]) == nil {
			t.Fatalf("share bit %d: confirmed", i)
		}
	}
	a, b := vectorPair(t)
	shareA, shareB := a.Share(), b.Share()
	sa, _ := a.Finish(shareB[:], []byte("ADb"))
	sb, _ := b.Finish(shareA[:], []byte("ADa"))
	good := sb.Tag()
	for i := range TagSize * 8 {
		tag := good
		tag[i/8] ^= 1 << (i % 8)
		if sa.Verify(tag[:]) == nil {
			t.Fatalf("tag bit %d: confirmed", i)
		}
	}
	if err := sa.Verify(good[:TagSize-1]); err == nil {
		t.Error("a short tag was accepted")
	}
	if sa.Tag() == sb.Tag() {
		t.Error("both sides send the same tag: it could be reflected")
	}
}

func TestFreshScalars(t *testing.T) {
	seen := map[[ShareSize]byte]bool{}
	for range 64 {
		x, err := New(Initiator, Input{Secret: []byte("s")})
		if err != nil {
			t.Fatal(err)
		}
		if seen[x.Share()] {
			t.Fatal("a share repeated")
		}
		seen[x.Share()] = true
	}
}

func TestFailingRand(t *testing.T) {
	if _, err := New(Initiator, Input{Rand: bytes.NewReader(make([]byte, 10))}); err == nil {
		t.Error("no error from a failing source")
	}
	// A source of zeros would yield the zero scalar for ever: it is refused
	// when it ends, never used.
	if _, err := New(Initiator, Input{Rand: bytes.NewReader(make([]byte, 128))}); err == nil {
		t.Error("the zero scalar was used")
	}
}

func FuzzFinish(f *testing.F) {
	f.Add(vectorShareB, []byte("ADb"))
	f.Add(make([]byte, 32), []byte(nil))
	f.Add(bytes.Repeat([]byte{0xff}, 32), []byte("x"))
	f.Fuzz(func(t *testing.T, share, data []byte) {
		a, _ := vectorPair(t)
		s, err := a.Finish(share, data)
		if err != nil {
			return
		}
		// Only the vector's own share and data give the vector's key.
		key := s.Key()
		if bytes.Equal(key[:], vectorISK) != (bytes.Equal(share, vectorShareB) && string(data) == "ADb") {
			t.Errorf("share %x, data %q: key %x", share, data, key)
		}
	})
}

func BenchmarkSide(b *testing.B) {
	in := Input{Secret: []byte("s"), Channel: []byte("c"), SID: []byte("i")}
	peer, _ := New(Responder, in)
	share := peer.Share()
	b.ReportAllocs()
	for b.Loop() {
		a, _ := New(Initiator, in)
		if _, err := a.Finish(share[:], nil); err != nil {
			b.Fatal(err)
		}
	}
}

func Example() {
	in := Input{Secret: []byte("a shared secret"), SID: []byte("unique")}
	a, _ := New(Initiator, in)
	b, _ := New(Responder, in)
	shareA, shareB := a.Share(), b.Share() // exchanged
	sa, _ := a.Finish(shareB[:], nil)
	sb, _ := b.Finish(shareA[:], nil)
	tagA, tagB := sa.Tag(), sb.Tag() // exchanged
	fmt.Println(sa.Verify(tagB[:]), sb.Verify(tagA[:]), sa.Key() == sb.Key())
	// Output: <nil> <nil> true
}
