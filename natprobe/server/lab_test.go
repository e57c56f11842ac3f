//go:build lab && linux

package server

import (
	"fmt"
	"os"

	"shipworm/testnet/lab"
)

func enterLab() (inside bool, code int) {
	inside, code, err := lab.Enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return false, max(code, 1)
	}
	return inside, code
}
