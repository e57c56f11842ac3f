//go:build !linux

package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"
)

// Only Linux gives a TUN device addresses, and so needs no helper elsewhere.

func (*tunFlags) startHelper([]string) (*os.File, func(), error) {
	return nil, nil, errors.ErrUnsupported
}

func newTeredoHelperCmd() *cobra.Command {
	return &cobra.Command{Use: "tun-helper", Hidden: true, RunE: func(*cobra.Command, []string) error { return errors.ErrUnsupported }}
}

func resolverDirs() []string { return nil }
