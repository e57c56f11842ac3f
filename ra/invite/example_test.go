package invite_test

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"shipworm/ra/invite"
)

func Example() {
	// The User's side.
	inv, err := invite.New("Ada", invite.DefaultLife, time.Now())
	if err != nil {
		fmt.Println(err)
		return
	}
	inv.CertHash = [32]byte{1} // of the certificate that the User's side will show
	inv.Candidates = []invite.Candidate{{Kind: "lan", Addr: netip.MustParseAddrPort("192.168.1.20:51236")}}
	password := invite.NewPassword()
	file, err := inv.Seal(password)
	if err != nil {
		fmt.Println(err)
		return
	}

	// The Helper's side.
	f, err := invite.Parse(file)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = f.Open("0000 0000 0000")
	fmt.Println(errors.Is(err, invite.ErrPassword))
	got, err := f.Open(password)
	fmt.Println(got.User, got.Candidates[0].Addr, err)
	// Output:
	// true
	// Ada 192.168.1.20:51236 <nil>
}
