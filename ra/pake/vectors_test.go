package pake

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/bwesterb/go-ristretto"
)

// The test vectors of draft-irtf-cfrg-cpace-21, appendices A and B.3.

var (
	vectorPRS     = "Password"
	vectorCI      = "\x0bA_initiator\x0bB_responder"
	vectorSID     = unhex("7e4b4791d6a8ef019b936c79fb7f2c57")
	vectorScalarA = unhex("da3d23700a9e5699258aef94dc060dfda5ebb61f02a5ea77fad53f4ff0976d08")
	vectorScalarB = unhex("d2316b454718c35362d83d69df6320f38578ed5984651435e2949762d900b80d")
	vectorShareA  = unhex("d6bac480f2c386c394efc7c47adb9925dcd2630b64f240c50f8d0eec482b9157")
	vectorShareB  = unhex("3ea7e0b19560d7c0b0f5734f63b955286dfa8232b5ebe63324e2d9e7433f7258")
	vectorISK     = unhex("b69effbf61b51d56401c0f65601abe428de8206feaaf0e32198896dcae7b35cd" +
		"2b38950a39dfd5d4a79164614c2984f7daa460b588c1e80c3fa2068af7900447")
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// fixed yields the wide random string that reduces to the given scalar.
func fixed(scalar []byte) *bytes.Reader {
	return bytes.NewReader(append(clone(scalar), make([]byte, 32)...))
}

func vectorPair(t testing.TB) (a, b *Exchange) {
	t.Helper()
	in := Input{Secret: []byte(vectorPRS), Channel: []byte(vectorCI), SID: vectorSID}
	in.Data, in.Rand = []byte("ADa"), fixed(vectorScalarA)
	a, err := New(Initiator, in)
	if err != nil {
		t.Fatal(err)
	}
	in.Data, in.Rand = []byte("ADb"), fixed(vectorScalarB)
	b, err = New(Responder, in)
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

// the published vectors.
func TestVectorsExchange(t *testing.T) {
	a, b := vectorPair(t)
	shareA, shareB := a.Share(), b.Share()
	if !bytes.Equal(shareA[:], vectorShareA) {
		t.Errorf("Ya = %x", shareA)
	}
	if !bytes.Equal(shareB[:], vectorShareB) {
		t.Errorf("Yb = %x", shareB)
	}
	sa, err := a.Finish(shareB[:], []byte("ADb"))
	if err != nil {
		t.Fatal(err)
	}
	sb, err := b.Finish(shareA[:], []byte("ADa"))
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*Session{"A": sa, "B": sb} {
		if key := s.Key(); !bytes.Equal(key[:], vectorISK) {
			t.Errorf("ISK of %s = %x", name, key)
		}
	}
}

//
func TestVectorsGenerator(t *testing.T) {
	seed := generatorString([]byte(vectorPRS), []byte(vectorCI), vectorSID)
	want := unhex("11435061636552697374726574746f3235350850617373776f726464" +
		strings.Repeat("00", 100) +
		"180b415f696e69746961746f720b425f726573706f6e646572107e4b4791d6a8ef019b936c79fb7f2c57")
	if !bytes.Equal(seed, want) {
		t.Errorf("generator_string = %x", seed)
	}
	hash := sha512.Sum512(seed)
	if want := unhex("da6d3ddc8802fca9058755ffd3ebde08a9c2c74945901a258482a288b6663af0" +
		"6bf645c93cd1c51512307199c80e84908916d983b34af77205f90851a657ee27"); !bytes.Equal(hash[:], want) {
		t.Errorf("hash = %x", hash)
	}
	g := deriveElement(seed).Bytes()
	if want := unhex("222b6b195fe84b1652badb6f6a3ae3d24341e7306967f0b8115b40d5698c7e56"); !bytes.Equal(g, want) {
		t.Errorf("generator = %x", g)
	}
}

// scalar_mult_vfy with a valid input, and the two that must abort.
func TestVectorsScalarMult(t *testing.T) {
	var raw [32]byte
	copy(raw[:], unhex("7cd0e075fa7955ba52c02759a6c90dbbfc10e6d40aea8d283e407d88cf538a05"))
	var s ristretto.Scalar
	s.SetBytes(&raw)
	got, ok := multiplyVerify(&s, unhex("2c3c6b8c4f3800e7aef6864025b4ed79bd599117e427c41bd47d93d654b4a51c"))
	if want := unhex("7c13645fe790a468f62c39beb7388e541d8405d1ade69d1778c5fe3e7f6b600e"); !ok || !bytes.Equal(got[:], want) {
		t.Errorf("scalar_mult_vfy = %x, %v", got, ok)
	}
	for name, y := range map[string]string{
		"Y_i1, no element": "2b3c6b8c4f3800e7aef6864025b4ed79bd599117e427c41bd47d93d654b4a51c",
		"Y_i2, neutral":    strings.Repeat("00", 32),
		// RFC 9496, A.2: field elements at or above p, and negative ones.
		"non-canonical, all ones": "00" + strings.Repeat("ff", 31),
		"non-canonical, p":        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"non-canonical, 0 + p+1":  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"negative, 1":             "01" + strings.Repeat("00", 31),
		"negative":                "ed57ffd8c914fb201471d1c3d245ce3c746fcbe63a3679d51b6a516ebebe0e20",
		"non-square":              "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
		"negative xy":             "3eb858e78f5a7254d8c9731174a94f76755fd3941c0ac93735c07ba14579630e",
		"s = -1, y = 0":           "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		if out, ok := multiplyVerify(&s, unhex(y)); ok {
			t.Errorf("%s: scalar_mult_vfy = %x, want abort", name, out)
		}
		a, _ := vectorPair(t)
		if _, err := a.Finish(unhex(y), nil); !errors.Is(err, ErrShare) {
			t.Errorf("%s: Finish = %v, want ErrShare", name, err)
		}
	}
}

func TestVectorsStrings(t *testing.T) {
	count := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i)
		}
		return b
	}
	long127, long128 := hex.EncodeToString(count(127)), hex.EncodeToString(count(128))
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"prepend_len of nothing", lvCat(nil), "00"},
		{"prepend_len", lvCat([]byte("1234")), "0431323334"},
		{"prepend_len of 127", lvCat(count(127)), "7f" + long127},
		{"prepend_len of 128", lvCat(count(128)), "8001" + long128},
		{"lv_cat", lvCat([]byte("1234"), []byte("5"), nil, []byte("678")), "043132333401350003363738"},
		{"transcript_ir", append(lvCat([]byte("123"), []byte("PartyA")), lvCat([]byte("234"), []byte("PartyB"))...),
			"03313233065061727479410332333406506172747942"},
	} {
		if !bytes.Equal(c.got, unhex(c.want)) {
			t.Errorf("%s = %x", c.name, c.got)
		}
	}
}
