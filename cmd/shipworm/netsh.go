package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// netshSettings are the parameters of netsh's "set state", in its order, and
// what we call them.
var netshSettings = []struct{ word, key string }{
	{"type", "type"}, {"servername", "server"}, {"refreshinterval", "refresh"}, {"clientport", "port"},
}

func newNetshCmd(system systemFile) *cobra.Command {
	show := func() *cobra.Command {
		c := newTeredoShowCmd(system)
		c.Use, c.Short = "state", "Show the Teredo client's state"
		return c
	}
	ifaces := group("interface", "Interfaces",
		group("teredo", "Teredo since Windows Vista",
			group("show", "Show", show()), group("set", "Set", newNetshSetCmd(system, "state"))),
		group("ipv6", "Teredo in Windows XP",
			group("show", "Show", func() *cobra.Command { c := show(); c.Use = "teredo"; return c }()),
			group("set", "Set", newNetshSetCmd(system, "teredo"))))
	ifaces.Aliases = []string{"int"} // as nearly everybody types it
	return group("netsh", "The words that netsh users type", ifaces)
}

func newNetshSetCmd(system systemFile, use string) *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   use + " [type=]T [servername=]H [refreshinterval=]S [clientport=]P",
		Short: "Set what the Teredo client does",
		Long: `As "shipworm teredo set", in netsh's words: by name, or in this order, where
"default" takes a setting back.`,
		Example: "  sudo shipworm netsh interface teredo set state type=enterpriseclient servername=teredo.example.net\n" +
			"  sudo shipworm netsh interface teredo set state enterpriseclient teredo.example.net 20 34567",
		RunE: func(c *cobra.Command, args []string) error {
			changes, err := netshChanges(args)
			if err != nil {
				return usageError(fmt.Errorf("%s: %w", commandName(c), err))
			}
			if err := setAndTell(c, system, path, changes); err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), "Ok.")
			return err
		},
	}
	c.Flags().StringVar(&path, "config", "", "the `file` to change")
	return c
}

// netshChanges reads netsh's parameters. As there, a word that names one is
// taken in any case, and those without a name go by their place.
func netshChanges(args []string) (map[string]string, error) {
	changes := map[string]string{}
	for i, a := range args {
		at, value := i, a
		if word, v, named := strings.Cut(a, "="); named {
			at = slices.IndexFunc(netshSettings, func(s struct{ word, key string }) bool { return strings.EqualFold(s.word, word) })
			if at < 0 {
				return nil, fmt.Errorf("%q is not a parameter", word)
			}
			value = v
		}
		if at >= len(netshSettings) {
			return nil, fmt.Errorf("%d parameters, at most %d", len(args), len(netshSettings))
		}
		key := netshSettings[at].key
		if _, twice := changes[key]; twice {
			return nil, fmt.Errorf("%s is given twice", netshSettings[at].word)
		}
		if key == "server" {
			value = strings.TrimSuffix(value, ".") // netsh shows the root's dot
		}
		changes[key] = value
	}
	if len(changes) == 0 {
		return nil, fmt.Errorf("nothing to set")
	}
	return changes, nil
}
