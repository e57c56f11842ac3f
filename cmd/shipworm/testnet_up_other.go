//go:build !linux

package main

import "context"

func runTestnetUp(context.Context, *upOptions) error { return errNoLaboratory("testnet up") }
func joinTestnet(*upOptions) error                   { return errNoLaboratory("testnet up") }
