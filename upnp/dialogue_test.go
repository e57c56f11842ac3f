package upnp

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"shipworm/upnp/natpmp"
	"shipworm/upnp/pcp"
)

func testQuestion() question {
	return question{
		protocol: UDP, internal: netip.AddrPortFrom(hostAddr, 3545), external: netip.AddrPortFrom(netip.Addr{}, 3545),
		lifetime: time.Hour, nonce: pcp.Nonce{1, 2, 3},
	}
}

// A silent gateway is asked in both languages in turn, never twice at a time,
// and given up within 2.75 s. U-16
func TestDialogueSilence(t *testing.T) {
	now := time.Unix(1e9, 0)
	d := newDialogue(testQuestion(), now)
	want := []struct {
		at      time.Duration
		version byte
	}{{0, 2}, {250 * time.Millisecond, 0}, {750 * time.Millisecond, 2}, {1750 * time.Millisecond, 0}}
	for _, w := range want {
		if d.next.Sub(now) != w.at {
			t.Fatalf("next packet at %v, want %v", d.next.Sub(now), w.at)
		}
		p := d.poll(d.next)
		if len(p) == 0 || p[0] != w.version {
			t.Fatalf("at %v: % x", w.at, p)
		}
		if again := d.poll(now.Add(w.at)); again != nil {
			t.Fatalf("two packets at %v", w.at)
		}
	}
	if d.poll(now.Add(2749*time.Millisecond)) != nil || d.ended {
		t.Error("ended early")
	}
	if d.poll(now.Add(2750*time.Millisecond)) != nil || !d.ended || !errors.Is(d.err, ErrSilent) {
		t.Errorf("ended %v, %v", d.ended, d.err)
	}
}

// RFC 6887, 9 and appendix A: the version that a gateway shows is spoken at
// once.
func TestDialogueVersions(t *testing.T) {
	now := time.Unix(1e9, 0)
	at := func(ms int) time.Time { return now.Add(time.Duration(ms) * time.Millisecond) }
	old := natpmp.Response{Result: natpmp.UnsupportedVersion}
	oldPacket := old.Append(nil)[:8]
	oldPacket[1] = 0 // RFC 6886, 3.5: opcode 0
	t.Run("NAT-PMP gateway", func(t *testing.T) {
		d := newDialogue(testQuestion(), now)
		d.poll(now)
		d.receive(at(1), oldPacket)
		if p := d.poll(at(1)); len(p) != 2 {
			t.Fatalf("% x, want the question for the address", p)
		}
		d.receive(at(2), (&natpmp.Response{Epoch: 9, Addr: wanAddr}).Append(nil))
		if p := d.poll(at(2)); len(p) != 12 {
			t.Fatalf("% x, want the question for the mapping", p)
		}
		d.receive(at(3), (&natpmp.Response{Op: natpmp.MapUDP, Epoch: 9, Internal: 3545, External: 4000, Lifetime: time.Hour}).Append(nil))
		if want := (answer{ViaNATPMP, netip.AddrPortFrom(wanAddr, 4000), time.Hour, 9}); !d.ended || d.err != nil || d.answer != want {
			t.Errorf("%v, %v: %+v", d.ended, d.err, d.answer)
		}
	})
	t.Run("PCP gateway that lost the first packet", func(t *testing.T) {
		d := newDialogue(testQuestion(), now)
		d.poll(now)
		d.poll(at(250)) // in NAT-PMP
		d.receive(at(251), []byte{2, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
		if p := d.poll(at(251)); len(p) != pcp.MapLen {
			t.Errorf("% x, want PCP again", p)
		}
	})
	t.Run("spoken once, spoken ever", func(t *testing.T) {
		q := testQuestion()
		q.via = ViaPCP
		d := newDialogue(q, now)
		d.poll(now)
		d.receive(at(1), oldPacket)
		if p := d.poll(at(250)); len(p) != pcp.MapLen {
			t.Errorf("% x, want PCP still", p)
		}
	})
	t.Run("no NAT-PMP on IPv6", func(t *testing.T) {
		q := testQuestion()
		q.internal = netip.MustParseAddrPort("[2001:db8::2]:3545")
		d := newDialogue(q, now)
		for !d.ended {
			if p := d.poll(d.next); p != nil && p[0] != pcp.Version {
				t.Errorf("% x", p)
			}
		}
	})
}

// U-12: what does not answer the question changes nothing, whatever it is.
func FuzzDialogue(f *testing.F) {
	q := testQuestion()
	ok := pcp.Response{Op: pcp.Map, Lifetime: time.Hour, Epoch: 1, Mapping: pcp.Mapping{
		Nonce: q.nonce, Protocol: pcp.UDP, Internal: 3545, External: netip.AddrPortFrom(wanAddr, 3545),
	}}
	f.Add(ok.Append(nil), []byte{0, 0x80, 0, 0})
	f.Add((&natpmp.Response{Addr: wanAddr}).Append(nil), (&natpmp.Response{Op: natpmp.MapUDP, Internal: 3545, External: 1, Lifetime: time.Hour}).Append(nil))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		now := time.Unix(1e9, 0)
		d := newDialogue(q, now)
		packets := 0
		for !d.ended {
			if p := d.poll(d.next); p != nil {
				if packets++; packets > 16 {
					t.Fatal("endless")
				}
			}
			d.receive(d.next, one)
			d.receive(d.next, two)
		}
		if d.err == nil && (d.answer.lifetime <= 0 || d.answer.lifetime > pcp.MaxLifetime || d.answer.external.Port() == 0) {
			t.Errorf("%+v", d.answer)
		}
	})
}
