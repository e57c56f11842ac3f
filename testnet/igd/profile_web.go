package igd

import (
	"strings"
	"time"
)

// searchFaults are routers that are wrong about SSDP, and machines on the LAN
// that use it to attack.
func searchFaults() []Profile {
	location := func(form string) func(*quirks) { return func(q *quirks) { q.location = form } }
	return []Profile{
		faulty("location-null", "Says that its description is on the host (null).", upnpOnly(), location("http://(null):{port}"+descriptionPath)),
		faulty("location-wrong-host", "Says that its description is on another machine of the LAN.", upnpOnly(), location("http://{other}:{port}"+descriptionPath)),
		faulty("location-loopback", "Says that its description is on 127.0.0.1, to reach the client's own services.", upnpOnly(), location("http://127.0.0.1:{port}/desc/loopback")),
		faulty("location-name", "Says that its description is on localhost, a name and no address.", upnpOnly(), location("http://localhost:{port}/desc/name")),
		faulty("location-file", "Says that its description is a file of the client.", upnpOnly(), location("file:///etc/passwd")),
		faulty("location-https", "Says that its description is behind TLS.", upnpOnly(), location("https://{addr}:{port}"+descriptionPath)),
		faulty("location-user", "Puts a user and password into the URL of its description.", upnpOnly(), location("http://admin:secret@{addr}:{port}"+descriptionPath)),
		faulty("location-floating", "Says that its description is on another address at every other answer.", upnpOnly(), location("http://{floating}:{port}"+descriptionPath)),
		faulty("location-empty", "Does not say where its description is.", upnpOnly(), location(" ")),
		faulty("search-other-port", "Answers searches from another port than 1900.", upnpOnly(), func(q *quirks) { q.searchStranger = true }),
		faulty("search-wrong-target", "Answers searches as a media server that nobody asked for.", upnpOnly(), func(q *quirks) { q.wrongTarget = true }),
		faulty("parallel-searches", "Answers only one search a second.", upnpOnly(), func(q *quirks) { q.crowd = time.Second }),
		faulty("hundred-answers", "Answers a search as a hundred devices, none of which answers a GET.", upnpOnly(), func(q *quirks) {
			q.copies, q.location, q.descriptionFault = 100, "http://{addr}:{port}/desc/{n}", blackHole
		}),
		faulty("search-huge", "Answers searches with 8 KiB.", upnpOnly(), func(q *quirks) { q.padding = "X-Padding: " + strings.Repeat("x", 8<<10) + "\r\n" }),
		faulty("port-moves", "Has its web server at another port after every reboot.", upnpOnly(), func(q *quirks) { q.portMoves = true }),
	}
}

// webFaults are routers that are wrong about HTTP, XML and SOAP.
func webFaults() []Profile {
	description := func(f fault) func(*quirks) { return func(q *quirks) { q.descriptionFault = f } }
	control := func(form string) func(*quirks) { return func(q *quirks) { q.controlURL = form } }
	const bomb = `<!DOCTYPE root [<!ENTITY a "aaaaaaaaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>`
	return []Profile{
		faulty("control-relative", "Gives control URLs without the leading slash.", upnpOnly(), control("ctl/{service}")),
		faulty("control-absolute", "Gives control URLs with host and port.", upnpOnly(), control("http://{addr}:{port}/ctl/{service}")),
		faulty("control-other-host", "Gives control URLs on another machine of the LAN.", upnpOnly(), control("http://{other}:{port}/ctl/{service}")),
		faulty("control-loopback", "Gives control URLs on 127.0.0.1, to reach the client's own services.", upnpOnly(), control("http://127.0.0.1:{port}/ctl/{service}")),
		faulty("url-base", "Gives a URLBase that is right.", upnpOnly(), func(q *quirks) { q.urlBase = "http://{addr}:{port}/" }),
		faulty("url-base-wrong", "Gives a URLBase on another machine of the LAN.", upnpOnly(), func(q *quirks) { q.urlBase = "http://{other}:{port}/" }),
		faulty("legacy-urn", "Has urn:dslforum-org where urn:schemas-upnp-org belongs.", upnpOnly(), func(q *quirks) { q.version, q.domain = 1, "dslforum-org" }),
		faulty("ppp-only", "Has WANPPPConnection and no WANIPConnection.", upnpOnly(), func(q *quirks) { q.version, q.ppp = 1, true }),
		faulty("fault-200", "Sends SOAP faults with status 200 instead of 500.", upnpOnly(), func(q *quirks) {
			q.faultStatus, q.addError = 200, upnpConflict
		}),
		faulty("chunked", "Sends its descriptions and answers in many small chunks without a length.", upnpOnly(), func(q *quirks) {
			q.descriptionFault, q.controlFault = chunked, chunked
		}),
		faulty("redirect", "Redirects from its description to another page of its own.", upnpOnly(), func(q *quirks) { q.redirect = "/desc/redirected" }),
		faulty("redirect-loopback", "Redirects from its description to the client's own services.", upnpOnly(), func(q *quirks) { q.redirect = "http://127.0.0.1:{port}/desc/loopback" }),
		faulty("redirect-loop", "Redirects from its description to its description.", upnpOnly(), func(q *quirks) { q.redirect = descriptionPath }),
		faulty("description-404", "Has no description where it says.", upnpOnly(), func(q *quirks) { q.descriptionStatus = 404 }),
		faulty("description-500", "Fails to make its description.", upnpOnly(), func(q *quirks) { q.descriptionStatus = 500 }),
		faulty("description-empty", "Has an empty description.", upnpOnly(), func(q *quirks) { q.emptyDescription = true }),
		faulty("description-cut", "Hangs up in the middle of its description.", upnpOnly(), description(cut)),
		faulty("hang-up", "Hangs up instead of answering.", upnpOnly(), description(hangUp)),
		faulty("black-hole", "Takes the request for its description and never answers.", upnpOnly(), description(blackHole)),
		faulty("control-black-hole", "Takes every action and never answers.", upnpOnly(), func(q *quirks) { q.controlFault = blackHole }),
		faulty("endless", "Has a description without end.", upnpOnly(), description(endless)),
		faulty("control-endless", "Answers actions without end.", upnpOnly(), func(q *quirks) { q.controlFault = endless }),
		faulty("slow-drip", "Sends its description at a byte a second.", upnpOnly(), description(drip)),
		faulty("deep-xml", "Has a description of 20,000 elements inside each other.", upnpOnly(), description(deep)),
		faulty("huge-headers", "Sends a megabyte of headers before its description.", upnpOnly(), description(hugeHeader)),
		faulty("entities", "Has a description with a document type whose entities grow.", upnpOnly(), func(q *quirks) {
			q.dtd, q.friendlyName = bomb, "&c;"
		}),
		faulty("hostile-name", "Has a name that would be code in a web page or on a terminal.", upnpOnly(), func(q *quirks) {
			q.friendlyName = "&lt;script&gt;alert(1)&lt;/script&gt;&#x9b;31m"
		}),
	}
}
