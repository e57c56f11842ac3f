package igd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// Names that a search may ask for (UPnP Device Architecture 1.1, 1.3.2).
const (
	searchAll  = "ssdp:all"
	rootDevice = "upnp:rootdevice"

	forum = "schemas-upnp-org"
)

// maxSearch bounds a search request, in bytes.
const maxSearch = 2048

// Errors of parseSearch.
var errNotSearch = errors.New("igd: not an M-SEARCH request")

// parseSearch reads a search request and returns its target.
func parseSearch(b []byte) (target string, err error) {
	if len(b) > maxSearch || !bytes.HasPrefix(b, []byte("M-SEARCH * HTTP/1.")) {
		return "", errNotSearch
	}
	q, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b)))
	if err != nil {
		return "", fmt.Errorf("%w: %w", errNotSearch, err)
	}
	if strings.Trim(q.Header.Get("Man"), `"`) != "ssdp:discover" || q.Header.Get("St") == "" {
		return "", errNotSearch
	}
	return q.Header.Get("St"), nil
}

// Search takes a datagram that came to port 1900, and returns the answers.
func (r *Router) Search(now time.Time, from netip.AddrPort, b []byte) []Datagram {
	target, err := parseSearch(b)
	if err != nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.q.upnp {
		return nil
	}
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	r.record(Request{Time: now, From: from, Protocol: SSDP, Action: target})
	last := r.searched
	r.searched = now
	if r.q.crowd > 0 && !last.IsZero() && now.Sub(last) < r.q.crowd {
		return nil
	}
	via := ViaSearch
	if r.q.searchStranger {
		via = ViaStranger
	}
	var list []Datagram
	for _, t := range r.targets() {
		if target != searchAll && target != t && !olderVersion(target, t) {
			continue
		}
		st := t
		if target != searchAll {
			st = target
		}
		if r.q.wrongTarget {
			st = "urn:" + forum + ":device:MediaServer:1"
		}
		for range max(1, r.q.copies) {
			r.counts.search++
			text := fmt.Sprintf("HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: %s\r\nUSN: %s\r\nEXT:\r\nSERVER: shipworm-testnet/1.0 UPnP/1.1 igd/1.0\r\nLOCATION: %s\r\n%s%s\r\n",
				st, r.usn(st), r.location(), r.bootID(), r.q.padding)
			list = append(list, Datagram{Via: via, To: from, Payload: []byte(text), After: r.q.searchDelay})
		}
	}
	return list
}

// olderVersion reports whether the target is an earlier version of what the
// router has, which it must answer to (UPnP Device Architecture 1.1, 1.3.2).
func olderVersion(target, have string) bool {
	i, j := strings.LastIndexByte(target, ':'), strings.LastIndexByte(have, ':')
	return i > 0 && j == i && target[:i] == have[:j] && target[i:] < have[j:] && len(target) == len(have)
}

// uuid names the device, which is the same after a reboot.
func (r *Router) uuid(device int) string {
	a := r.cfg.Address.As4()
	return fmt.Sprintf("uuid:73686970-776f-726d-8%03x-0000%x", device, a[:])
}

// usn is a unique service name (UPnP Device Architecture 1.1, 1.2.2).
func (r *Router) usn(target string) string {
	if strings.HasPrefix(target, "uuid:") {
		return target
	}
	id := r.uuid(0)
	if r.q.copies > 1 {
		id = fmt.Sprintf("uuid:73686970-776f-726d-9000-%012x", r.counts.search)
	}
	return id + "::" + target
}

// targets are all that can be searched for.
func (r *Router) targets() []string {
	list := []string{rootDevice, r.uuid(0), r.urn("device", "InternetGatewayDevice", r.q.version),
		r.urn("device", "WANDevice", r.q.version), r.urn("device", "WANConnectionDevice", r.q.version)}
	for _, s := range r.services() {
		list = append(list, s.urn)
	}
	return list
}

func (r *Router) urn(kind, name string, version int) string {
	domain := forum
	if r.q.domain != "" {
		domain = r.q.domain
	}
	return fmt.Sprintf("urn:%s:%s:%s:%d", domain, kind, name, max(1, version))
}

// bootID is a header line that is another after each start (UPnP Device
// Architecture 1.1, 1.2.2), which version 1.0 does not have.
func (r *Router) bootID() string {
	if r.q.noBootID {
		return ""
	}
	return fmt.Sprintf("BOOTID.UPNP.ORG: %d\r\n", r.began.Unix())
}

// location is where the description is said to be.
func (r *Router) location() string {
	form := r.q.location
	if form == "" {
		form = "http://{addr}:{port}" + descriptionPath
	}
	return r.fill(form)
}

// fill puts the router's address into a form of a URL.
func (r *Router) fill(form string) string {
	other := r.cfg.Address.Next()
	floating := r.cfg.Address
	if r.counts.search%2 == 0 {
		floating = other
	}
	return strings.NewReplacer(
		"{addr}", r.cfg.Address.String(), "{port}", fmt.Sprint(r.http),
		"{other}", other.String(), "{floating}", floating.String(),
		"{n}", fmt.Sprint(r.counts.search),
	).Replace(form)
}

// Goodbye withdraws the router's services, as it should do before it is
// switched off.
func (r *Router) Goodbye() []Datagram {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.notify("ssdp:byebye")
}

// notify advertises every target (UPnP Device Architecture 1.1, 1.2).
func (r *Router) notify(what string) []Datagram {
	to := r.cfg.SearchGroup
	if !r.q.upnp || !to.IsValid() {
		return nil
	}
	var list []Datagram
	for _, t := range r.targets() {
		where := fmt.Sprintf("CACHE-CONTROL: max-age=120\r\nLOCATION: %s\r\nSERVER: shipworm-testnet/1.0 UPnP/1.1 igd/1.0\r\n", r.location())
		if what == "ssdp:byebye" {
			where = ""
		}
		text := fmt.Sprintf("NOTIFY * HTTP/1.1\r\nHOST: %v\r\n%sNT: %s\r\nUSN: %s\r\nNTS: %s\r\n%s\r\n",
			SearchGroup, where, t, r.usn(t), what, r.bootID())
		list = append(list, Datagram{Via: ViaSearch, To: to, Payload: []byte(text)})
	}
	return list
}
