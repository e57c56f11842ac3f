package channel

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"

	"shipworm/ra/invite"
	"shipworm/ra/pake"
)

// The exchange on the first stream. Every message has a fixed length, so that
// a right and a wrong password look alike to whoever counts bytes.
//
//	1  Helper -> User   version 1 | nonce 32 | share 32
//	2  User -> Helper   version 1 | nonce 32 | share 32 | confirmation 64
//	3  Helper -> User   confirmation 64
//
// The User confirms first: the Helper may then speak at once, two round trips
// after it began. What a guesser learns from message 2 is one guess, counted
// before message 2 is made.
const (
	nonceSize   = 32
	helloSize   = 1 + nonceSize + pake.ShareSize
	answerSize  = helloSize + pake.TagSize
	confirmSize = pake.TagSize
)

// exporterLabel binds the exchange to its TLS connection (RFC 8446, 7.5):
// whoever terminates TLS in the middle has two different exporters.
const exporterLabel = "EXPORTER-shipworm-ra-1"

// binding is what both sides know of the connection before the exchange.
type binding struct {
	id       [16]byte
	exporter []byte
}

func newBinding(id [16]byte, state tls.ConnectionState) (binding, error) {
	exporter, err := state.ExportKeyingMaterial(exporterLabel, id[:], 32)
	return binding{id, exporter}, err
}

// input assembles CPace's input. The roles, the version and the id are the
// channel identifier; the exporter, fresh for each connection by both sides'
// TLS randoms, is the session identifier; the nonces travel as associated
// data. All of it enters the key.
func (b binding) input(secret []byte, data []byte, random io.Reader) pake.Input {
	channel := []byte(alpn + " helper user ")
	channel = append(channel, version)
	channel = append(channel, b.id[:]...)
	return pake.Input{Secret: secret, Channel: channel, SID: b.exporter, Data: data, Rand: random}
}

// pakeSecret is CPace's PRS: the length of the password, the canonical
// password, the file secret.
func pakeSecret(inv *invite.Invitation, password string) ([]byte, error) {
	canonical, err := invite.Normalize(password)
	if err != nil {
		return nil, err
	}
	if inv.FileSecret == [16]byte{} {
		return nil, errors.New("channel: an invitation without a file secret")
	}
	secret := append([]byte{byte(len(canonical))}, canonical...)
	return append(secret, inv.FileSecret[:]...), nil
}

func associated(role string, v byte, nonce []byte) []byte {
	return append(append([]byte(role), v), nonce...)
}

// hello makes one side's share and the message that carries it.
func hello(role pake.Role, b binding, secret []byte, random io.Reader) (*pake.Exchange, []byte, error) {
	if random == nil {
		random = rand.Reader
	}
	message := make([]byte, helloSize, answerSize)
	message[0] = version
	nonce := message[1 : 1+nonceSize]
	if _, err := io.ReadFull(random, nonce); err != nil {
		return nil, nil, err
	}
	exchange, err := pake.New(role, b.input(secret, associated(roleName(role), version, nonce), random))
	if err != nil {
		return nil, nil, err
	}
	share := exchange.Share()
	copy(message[1+nonceSize:], share[:])
	return exchange, message, nil
}

// meet takes the peer's hello.
func meet(exchange *pake.Exchange, peer pake.Role, message []byte) (*pake.Session, error) {
	nonce, share := message[1:1+nonceSize], message[1+nonceSize:helloSize]
	return exchange.Finish(share, associated(roleName(peer), message[0], nonce))
}

func roleName(r pake.Role) string {
	if r == pake.Initiator {
		return "helper"
	}
	return "user"
}

// authenticateHelper runs the Helper's side. It returns [ErrPassword] if the
// User does not hold the same secret, before anything was confirmed to him.
func authenticateHelper(rw io.ReadWriter, b binding, secret []byte, random io.Reader) error {
	exchange, first, err := hello(pake.Initiator, b, secret, random)
	if err != nil {
		return err
	}
	if _, err := rw.Write(first); err != nil {
		return err
	}
	var answer [answerSize]byte
	if _, err := io.ReadFull(rw, answer[:]); err != nil {
		return err
	}
	session, err := meet(exchange, pake.Responder, answer[:helloSize])
	if err != nil {
		return fmt.Errorf("%w (%v)", ErrPassword, err)
	}
	if err := session.Verify(answer[helloSize:]); err != nil {
		return ErrPassword
	}
	tag := session.Tag()
	_, err = rw.Write(tag[:])
	return err
}

// authenticateUser runs the User's side. begin is called once the Helper's
// first message is there: it counts the attempt and yields the secret. From
// then on every error is a wrong password, whatever its cause: the peer may
// have learned whether a guess was right.
func authenticateUser(rw io.ReadWriter, b binding, begin func() ([]byte, error), random io.Reader) error {
	var first [helloSize]byte
	if _, err := io.ReadFull(rw, first[:]); err != nil {
		return err
	}
	secret, err := begin()
	if err != nil {
		return err
	}
	defer clear(secret)
	exchange, answer, err := hello(pake.Responder, b, secret, random)
	if err != nil {
		return fmt.Errorf("%w (%v)", ErrPassword, err)
	}
	session, err := meet(exchange, pake.Initiator, first[:])
	if err != nil {
		return fmt.Errorf("%w (%v)", ErrPassword, err)
	}
	tag := session.Tag()
	if _, err := rw.Write(append(answer, tag[:]...)); err != nil {
		return fmt.Errorf("%w (%v)", ErrPassword, err)
	}
	var confirmation [confirmSize]byte
	if _, err := io.ReadFull(rw, confirmation[:]); err != nil {
		return fmt.Errorf("%w (%v)", ErrPassword, err)
	}
	if err := session.Verify(confirmation[:]); err != nil {
		return ErrPassword
	}
	return nil
}
