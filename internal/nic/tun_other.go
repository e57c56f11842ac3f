//go:build !linux

package nic

import "github.com/songgao/water"

// open lets the system choose the name: neither macOS nor Windows takes ours.
func open(cfg water.Config, _ string) (*water.Interface, error) {
	return water.New(cfg)
}

// ReadMany waits for one packet: this system has no way to ask for more.
func (t *TUN) ReadMany(bufs [][]byte, sizes []int) (n int, err error) {
	sizes[0], err = t.Read(bufs[0])
	if err != nil {
		return 0, err
	}
	return 1, nil
}
