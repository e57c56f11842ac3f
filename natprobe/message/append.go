package message

import (
	"encoding/binary"
	"net/netip"

	"github.com/pion/stun/v3"
)

// Flags of CHANGE-REQUEST (RFC 5780, 7.2).
const (
	changeIP   = 4
	changePort = 2
)

// maxText bounds SOFTWARE and the reason of an error, in bytes: less than the
// 128 characters of RFC 8489, 14.8 and 14.14, so that a message without padding
// never exceeds MaxSize.
const maxText = 127

// Append appends the message to b and returns the whole. What does not fit is
// cut: texts at 127 bytes, padding so that the message has at most MaxPadded.
// An answer without the magic cookie gets no XOR-MAPPED-ADDRESS, which RFC
// 3489 does not know and would have to reject.
func (m *Message) Append(b []byte) []byte {
	raw := stun.Message{
		Type:          stun.NewType(stun.MethodBinding, stun.MessageClass(m.Class)),
		TransactionID: [stun.TransactionIDSize]byte(m.ID[4:]),
		Raw:           make([]byte, 0, 128),
	}
	raw.WriteHeader()
	if m.ChangeIP || m.ChangePort {
		var flags [4]byte
		if m.ChangeIP {
			flags[3] |= changeIP
		}
		if m.ChangePort {
			flags[3] |= changePort
		}
		raw.Add(stun.AttrChangeRequest, flags[:])
	}
	if m.ResponsePort != 0 {
		raw.Add(stun.AttrResponsePort, binary.BigEndian.AppendUint16(nil, m.ResponsePort))
	}
	if m.Code != 0 {
		text := append([]byte{0, 0, byte(m.Code / 100 & 7), byte(m.Code % 100)}, cut(m.Reason)...)
		raw.Add(stun.AttrErrorCode, text)
	}
	if m.Class == Error && len(m.Unknown) > 0 {
		var list []byte
		for _, t := range m.Unknown[:min(len(m.Unknown), maxUnknown)] {
			list = binary.BigEndian.AppendUint16(list, t)
		}
		raw.Add(stun.AttrUnknownAttributes, list)
	}
	addAddress(&raw, stun.AttrMappedAddress, m.Mapped)
	if m.XORMapped.IsValid() && !m.ID.Classic() {
		x := stun.XORMappedAddress{IP: m.XORMapped.Addr().Unmap().AsSlice(), Port: int(m.XORMapped.Port())}
		_ = x.AddTo(&raw) // fails for addresses of other lengths only
	}
	origin, other := stun.AttrResponseOrigin, stun.AttrOtherAddress
	if m.Old {
		origin, other = stun.AttrSourceAddress, stun.AttrChangedAddress
	}
	addAddress(&raw, origin, m.Origin)
	addAddress(&raw, other, m.Other)
	addAddress(&raw, stun.AttrAlternateServer, m.Alternate)
	if m.Software != "" {
		raw.Add(stun.AttrSoftware, []byte(cut(m.Software)))
	}
	if m.Padding > 0 {
		n := min((m.Padding+3)&^3, MaxPadded-len(raw.Raw)-4)
		raw.Add(stun.AttrPadding, make([]byte, n))
	}
	copy(raw.Raw[4:], m.ID[:]) // an ID of RFC 3489 has other bytes for the cookie
	return append(b, raw.Raw...)
}

func addAddress(raw *stun.Message, t stun.AttrType, ap netip.AddrPort) {
	if !ap.IsValid() {
		return
	}
	a := stun.MappedAddress{IP: ap.Addr().Unmap().AsSlice(), Port: int(ap.Port())}
	_ = a.AddToAs(raw, t) // fails for addresses of other lengths only
}

func cut(s string) string { return s[:min(len(s), maxText)] }
