//go:build !linux

package tun

// openVnet returns nothing: only Linux has such devices.
func openVnet(string) (device, error) { return nil, nil }

func removed(error) bool { return false }
