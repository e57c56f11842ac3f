package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"shipworm/internal/clean"
	"shipworm/teredo"
)

// inspection is what ra inspect says about an invitation.
type inspection struct {
	Schema  int       `json:"schema"`
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	Expired bool      `json:"expired"`
	// With the password only.
	User       string               `json:"user,omitempty"`
	Candidates []inspectedCandidate `json:"candidates,omitempty"`
	CertHash   string               `json:"certificate_sha256,omitempty"`
}

type inspectedCandidate struct {
	Kind    string `json:"kind"`
	Address string `json:"address"`
	Server  string `json:"teredo_server,omitempty"`
	Mapped  string `json:"teredo_mapped,omitempty"`
}

func newRAInspectCmd() *cobra.Command {
	var (
		p      passwordFlags
		ask    bool
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Say what an invitation holds, without dialling",
		Long: `Say what an invitation holds, without dialling.

Without the password only the header can be read. With it (--ask,
--password-file or --password-fd) the addresses are shown that "ra open"
would dial.`,
		Args: oneFile,
		RunE: func(c *cobra.Command, args []string) error {
			if err := inspect(c, args[0], &p, ask, asJSON); err != nil {
				return fmt.Errorf("ra inspect: %w", err)
			}
			return nil
		},
	}
	p.add(c)
	c.Flags().BoolVar(&ask, "ask", false, "ask for the password on the terminal")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func inspect(c *cobra.Command, name string, p *passwordFlags, ask, asJSON bool) error {
	f, err := readInvitation(name)
	if err != nil {
		return err
	}
	id := f.ID()
	r := inspection{Schema: 1, ID: hex.EncodeToString(id[:]), Created: f.Created(), Expires: f.Expires(), Expired: f.Expired(time.Now())}
	if ask || p.given() {
		inv, _, err := unseal(c, f, p)
		if err != nil {
			return err
		}
		r.User = clean.Line(inv.User, clean.MaxText)
		r.CertHash = hex.EncodeToString(inv.CertHash[:])
		for _, cand := range inv.Candidates {
			ic := inspectedCandidate{Kind: cand.Kind, Address: cand.Addr.String()}
			if a, err := teredo.ParseAddress(cand.Addr.Addr().String()); err == nil {
				ic.Server, ic.Mapped = a.Server().String(), a.Mapped().String()
			}
			r.Candidates = append(r.Candidates, ic)
		}
	}
	if asJSON {
		return printJSON(c.OutOrStdout(), r)
	}
	r.print(c.OutOrStdout())
	return nil
}

func (r *inspection) print(w io.Writer) {
	line := func(label, value string) { fmt.Fprintf(w, "%-12s : %s\n", label, value) }
	line("Invitation", r.ID)
	line("Created", r.Created.Format(time.RFC3339))
	life := "not yet expired by this machine's clock"
	if r.Expired {
		life = "expired by this machine's clock"
	}
	line("Expires", r.Expires.Format(time.RFC3339)+", "+life)
	if r.CertHash == "" {
		line("Contents", "sealed; --ask, --password-file or --password-fd opens them")
		return
	}
	line("User", fmt.Sprintf("%q (not verified)", r.User))
	for _, c := range r.Candidates {
		value := c.Kind + " " + c.Address
		if c.Server != "" {
			value += fmt.Sprintf(" (server %s, behind %s)", c.Server, c.Mapped)
		}
		line("Address", value)
	}
	line("Certificate", "SHA-256 "+r.CertHash)
}
