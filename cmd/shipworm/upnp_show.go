package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"shipworm/internal/clean"
	"shipworm/upnp"
)

func newUPnPShowCmd() *cobra.Command {
	flags := upnpFlags{noJournal: true} // nothing is mapped
	c := &cobra.Command{
		Use:   "show",
		Short: "Show the router, what it speaks and its external address",
		Long: `Ask the default router by PCP, NAT-PMP and UPnP what it is. Nothing is mapped.
Exit code 3 if it opens no ports.`,
		Example: "  shipworm upnp show",
		Args:    exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			m, err := flags.mapper()
			if err != nil {
				return err
			}
			o, err := m.Show(c.Context())
			if err != nil {
				return upnpError(c.Context(), err)
			}
			shown := newShownRouter(&o, flags.network)
			if flags.asJSON {
				err = printJSON(c.OutOrStdout(), shown)
			} else {
				err = shown.print(c.OutOrStdout())
			}
			if err == nil && !shown.answered() {
				err = withHint(negativeError(errors.New("upnp: the router opens no ports by any protocol")),
					"look for UPnP, NAT-PMP or port sharing in the router's own pages")
			}
			return err
		},
	}
	flags.add(c)
	return c
}

// shownRouter is what `upnp show --json` prints, schema 1.
type shownRouter struct {
	Schema    int            `json:"schema"`
	Network   string         `json:"network"`
	Gateway   netip.Addr     `json:"gateway"`
	Interface string         `json:"interface"`
	Local     netip.Addr     `json:"local"`
	External  netip.Addr     `json:"external"` // "" if unknown
	DoubleNAT bool           `json:"double_nat"`
	Services  []shownService `json:"services"`
}

type shownService struct {
	Protocol     upnp.Via   `json:"protocol"`
	Answered     bool       `json:"answered"`
	Milliseconds float64    `json:"milliseconds,omitempty"`
	External     netip.Addr `json:"external"`
	Device       string     `json:"device,omitempty"`
	Model        string     `json:"model,omitempty"`
	Error        string     `json:"error,omitempty"`
}

func newShownRouter(o *upnp.Overview, network string) *shownRouter {
	s := &shownRouter{
		Schema: 1, Network: network, Gateway: o.Gateway.Addr, Interface: o.Gateway.Interface, Local: o.Gateway.Local.Addr(),
		External: o.External, DoubleNAT: o.DoubleNAT,
	}
	for _, v := range o.Services {
		one := shownService{
			Protocol: v.Via, Answered: v.Err == nil, Milliseconds: float64(v.Took.Round(100*time.Microsecond)) / float64(time.Millisecond),
			External: v.External, Device: clean.Line(v.Device, clean.MaxName), Model: clean.Line(v.Model, clean.MaxName),
		}
		if v.Err != nil {
			one.Error, one.Milliseconds = clean.Line(v.Err.Error(), clean.MaxText), 0
		}
		s.Services = append(s.Services, one)
	}
	return s
}

func (s *shownRouter) answered() bool {
	for _, v := range s.Services {
		if v.Answered {
			return true
		}
	}
	return false
}

func (s *shownRouter) print(w io.Writer) error {
	var b strings.Builder
	printLabel(&b, "Router", fmt.Sprintf("%v on %s", s.Gateway, s.Interface))
	printLabel(&b, "This host", s.Local)
	for _, v := range s.Services {
		text := "no: " + v.Error
		if v.Answered {
			text = fmt.Sprintf("yes, in %.1f ms", v.Milliseconds)
		}
		if name := strings.Join(strings.Fields(v.Device+" "+v.Model), " "); name != "" {
			text += fmt.Sprintf(" (calls itself %q)", name)
		}
		printLabel(&b, v.Protocol.String(), text)
	}
	switch {
	case s.DoubleNAT:
		printLabel(&b, "External address", s.External)
		b.WriteString(doubleNATText(s.External) + "\n")
	case s.External.IsValid():
		printLabel(&b, "External address", s.External)
	case s.answered():
		printLabel(&b, "External address", "not told")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
