package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"shipworm/testnet/igd"
	"shipworm/testnet/nat"
)

// lookupIGD returns the profile of --igd for a NAT; no name is none.
func lookupIGD(name string, behind nat.Config) (igd.Profile, error) {
	if name == "" {
		return igd.Profile{}, nil
	}
	p, ok := igd.Lookup(name)
	switch {
	case !ok:
		return p, fmt.Errorf("no such mapping router: %q: shipworm testnet list --igd has them", name)
	case behind.NoTranslation:
		return p, errors.New("--igd needs a NAT that translates")
	}
	return p, nil
}

// igdProfile is one profile as `testnet list --igd --json` prints it, schema 1.
type igdProfile struct {
	Name        string   `json:"name"`
	Protocols   []string `json:"protocols"`
	Faulty      bool     `json:"faulty"`
	Description string   `json:"description"`
}

func igdProfiles() []igdProfile {
	var out []igdProfile
	for _, p := range igd.Profiles() {
		x := igdProfile{Name: p.Name, Protocols: []string{}, Faulty: p.Faulty, Description: p.Description}
		if p.NATPMP {
			x.Protocols = append(x.Protocols, "natpmp")
		}
		if p.PCP {
			x.Protocols = append(x.Protocols, "pcp")
		}
		if p.UPnP {
			x.Protocols = append(x.Protocols, "upnp")
		}
		out = append(out, x)
	}
	return out
}

func writeIGDs(w io.Writer, asJSON bool) error {
	profiles := igdProfiles()
	if asJSON {
		return printJSON(w, struct {
			Schema  int          `json:"schema"`
			Routers []igdProfile `json:"routers"`
		}{1, profiles})
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "ROUTER\tPROTOCOLS\tDESCRIPTION")
	for _, p := range profiles {
		fmt.Fprintf(tw, "%s\t%s\t%s\n", p.Name, orDash(strings.Join(p.Protocols, ",")), p.Description)
	}
	return tw.Flush()
}
