package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Types of clients, in netsh's words. An enterprise client runs also where
// native IPv6 works; a client behaves as a NAT-aware one does.
const (
	typeDefault    = "default"
	typeClient     = "client"
	typeEnterprise = "enterpriseclient"
	typeNATAware   = "natawareclient"
	typeDisabled   = "disabled"
)

// clientType is a flag that takes one of them.
type clientType string

var _ pflag.Value = (*clientType)(nil)

func (t *clientType) String() string { return string(*t) }

// Type implements pflag.Value.
func (*clientType) Type() string { return "type" }

// Set implements pflag.Value.
func (t *clientType) Set(s string) error {
	all := []string{typeDefault, typeClient, typeEnterprise, typeNATAware, typeDisabled}
	if !slices.Contains(all, s) {
		return fmt.Errorf("%q: want one of %s", s, strings.Join(all, ", "))
	}
	*t = clientType(s)
	return nil
}
