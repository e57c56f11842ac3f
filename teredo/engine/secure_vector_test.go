package engine

import (
	"bytes"
	"encoding/hex"
	"testing"

	"shipworm/teredo/wire"
)

const (
	vectorSolicitation = "00010714636c69656e7431ed8d30d0eedf991e41dd3c46766c5927dfab212e0102030405060708006000000000083aff" +
		"fe800000000000000000fffffffffffeff02000000000000000000000000000285007d3800000000"
	vectorAdvertisement = "00010714636c69656e7431b91ae949c24cc4ea3b1154bccf25b2427e0500c9010203040506070800000063be39cc9bf8" +
		"6000000000303afffe800000000000008000f22734ff8e87fe800000000000000000fffffffffffe86009f5600000000" +
		"00000000000007d003044040ffffffffffffffff0000000020010000cb0071780000000000000000"
)

// The signed solicitation and advertisement of the vectors: client1 and
// "shared-secret", a shorter key than is accepted as a configuration.
func TestSignatureVectors(t *testing.T) {
	for name, text := range map[string]string{
		"solicitation": vectorSolicitation, "advertisement": vectorAdvertisement,
	} {
		t.Run(name, func(t *testing.T) {
			b, err := hex.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			var d wire.Datagram
			if err := wire.Parse(b, &d); err != nil {
				t.Fatal(err)
			}
			a := newAuthenticator(Credential{ID: "client1", Key: []byte("shared-secret")})
			if !a.verify(&d) {
				t.Error("not verified")
			}
			if again := a.appendSigned(nil, d.Auth.Nonce, d.Origin, d.IPv6); !bytes.Equal(again, b) {
				t.Errorf("signed anew: %x", again)
			}
		})
	}
}

// T-13: an identifier that nobody has costs the computation that a wrong
// signature costs.
func TestUnknownClientCost(t *testing.T) {
	key := bytes.Repeat([]byte{1}, minKey)
	k, err := newKeyring([]Credential{{"known", key}}, bytes.NewReader(bytes.Repeat([]byte{2}, 64)))
	if err != nil {
		t.Fatal(err)
	}
	stranger := newAuthenticator(Credential{ID: "stranger", Key: key})
	var d wire.Datagram
	packet := wire.AppendSolicitation(nil, wire.ClientLinkLocal(false))
	if err := wire.Parse(stranger.appendSigned(nil, [8]byte{1}, d.Origin, packet), &d); err != nil {
		t.Fatal(err)
	}
	if k.client(&d) != nil {
		t.Error("accepted")
	}
	if k.nobody.sum == [20]byte{} {
		t.Error("nothing was computed")
	}
	// Not even one who knows the key of nobody is anybody.
	nobody := newAuthenticator(Credential{Key: bytes.Repeat([]byte{2}, 64)})
	if err := wire.Parse(nobody.appendSigned(nil, [8]byte{1}, d.Origin, packet), &d); err != nil {
		t.Fatal(err)
	}
	if k.client(&d) != nil {
		t.Error("nobody accepted")
	}
}
