package upnp

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"shipworm/upnp/pcp"
)

// A pinhole by PCP: the request comes from the address that is opened, the
// router is link-local, and the external endpoint is the internal one.
func TestPinholePCP(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
		me, router := netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("fe80::1%lan0")
		l.gateway = Gateway{Addr: router, Local: netip.PrefixFrom(me, 64), Interface: "lan0"}
		server := l.listenPacket(netip.AddrPortFrom(router, pcp.ServerPort))
		var asked []pcp.Request
		served := make(chan struct{})
		go func() {
			defer close(served)
			buf := make([]byte, 2048)
			for {
				n, from, err := server.ReadFrom(buf)
				if err != nil {
					return
				}
				q, err := pcp.ParseRequest(buf[:n])
				if err != nil {
					t.Errorf("% x: %v", buf[:n], err)
					continue
				}
				asked = append(asked, q)
				r := pcp.Response{Op: q.Op, Lifetime: q.Lifetime, Epoch: 5, Mapping: q.Mapping}
				r.Mapping.External = netip.AddrPortFrom(q.Client, q.Mapping.Internal)
				_, _ = server.WriteTo(r.Append(nil), from)
			}
		}()
		r := udpRequest()
		r.Internal = netip.MustParseAddrPort("[::]:3545")
		k := keep(ctx, newTestMapper(t, l, nil), r)
		got, _ := k.next(t, time.Second)
		want := netip.AddrPortFrom(me, 3545)
		if got.Via != ViaPCP || got.External != want || got.Internal != want || !got.Reachable() {
			t.Errorf("%+v", got)
		}
		k.end()
		server.Close()
		<-served
		if len(asked) != 2 || asked[0].Client != me || asked[1].Lifetime != 0 {
			t.Errorf("asked %+v", asked)
		}
	})
}

// A pinhole by WANIPv6FirewallControl: opened, prolonged, and closed.
func TestPinholeUPnP(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, l *lan) {
		me, router := netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("2001:db8::1")
		l.gateway = Gateway{Addr: router, Local: netip.PrefixFrom(me, 64), Interface: "lan0"}
		search := l.listenPacket(netip.AddrPortFrom(router, 1900))
		actions := make(chan string, 100)
		mux := http.NewServeMux()
		mux.HandleFunc("GET /d", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `<root xmlns="urn:schemas-upnp-org:device-1-0"><device><serviceList><service><serviceType>urn:schemas-upnp-org:service:WANIPv6FirewallControl:1</serviceType><controlURL>/c</controlURL></service></serviceList></device></root>`)
		})
		mux.HandleFunc("POST /c", func(w http.ResponseWriter, q *http.Request) {
			_, action, _ := strings.Cut(strings.Trim(q.Header.Get("SOAPAction"), `"`), "#")
			actions <- action
			fmt.Fprintf(w, `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body><u:%sResponse xmlns:u="x"><UniqueID>7</UniqueID></u:%sResponse></s:Body></s:Envelope>`, action, action)
		})
		ln := l.listenTCP(netip.AddrPortFrom(router, 5000))
		web := http.Server{Handler: mux}
		done := make(chan struct{}, 2)
		go func() { _ = web.Serve(ln); done <- struct{}{} }()
		go func() {
			buf := make([]byte, 2048)
			for {
				_, from, err := search.ReadFrom(buf)
				if err != nil {
					done <- struct{}{}
					return
				}
				_, _ = search.WriteTo([]byte("HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\nBOOTID.UPNP.ORG: 1\r\nLOCATION: http://[2001:db8::1]:5000/d\r\n\r\n"), from)
			}
		}()
		r := udpRequest()
		r.Internal = netip.MustParseAddrPort("[::]:3545")
		k := keep(ctx, newTestMapper(t, l, nil), r)
		got, _ := k.next(t, 3*time.Second)
		if want := netip.AddrPortFrom(me, 3545); got.Via != ViaUPnP || got.External != want || !got.Reachable() {
			t.Errorf("%+v", got)
		}
		time.Sleep(31 * time.Minute)
		k.end()
		_ = web.Close()
		search.Close()
		<-done
		<-done
		close(actions)
		var all []string
		for a := range actions {
			all = append(all, a)
		}
		if len(all) < 3 || all[0] != "AddPinhole" || all[1] != "UpdatePinhole" || all[len(all)-1] != "DeletePinhole" {
			t.Errorf("actions %v", all)
		}
	})
}
