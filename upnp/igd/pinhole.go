package igd

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// AddPinhole lets everybody reach a local IPv6 endpoint, for a lease of whole
// seconds up to a day, and returns the pinhole's id. The protocol is IANA's
// number. A device wants to hear it from the very address that it opens.
func (s *Service) AddPinhole(ctx context.Context, protocol uint8, internal netip.AddrPort, lease time.Duration) (id string, err error) {
	var out struct{ UniqueID string }
	err = s.call(ctx, "AddPinhole", &struct {
		RemoteHost, RemotePort, InternalClient, InternalPort, Protocol, LeaseTime string
	}{"", "0", internal.Addr().String(), port(internal.Port()), strconv.Itoa(int(protocol)), seconds(lease)}, &out)
	if err != nil {
		return "", err
	}
	if id = strings.TrimSpace(out.UniqueID); id == "" || len(id) > 10 {
		return "", ErrAnswer
	}
	return id, nil
}

// UpdatePinhole gives a pinhole a new lease.
func (s *Service) UpdatePinhole(ctx context.Context, id string, lease time.Duration) error {
	return s.call(ctx, "UpdatePinhole", &struct{ UniqueID, NewLeaseTime string }{id, seconds(lease)}, nil)
}

// DeletePinhole closes a pinhole. It is no error if there is none.
func (s *Service) DeletePinhole(ctx context.Context, id string) error {
	err := s.call(ctx, "DeletePinhole", &struct{ UniqueID string }{id}, nil)
	if IsFault(err, CodeNoSuchPinhole) {
		return nil
	}
	return err
}
