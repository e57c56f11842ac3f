package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"shipworm/internal/toml"
)

// The configuration file is TOML: a table for each command, [client], [server]
// or [relay], whose keys are the names of the command's flags. What the command
// line says wins. A key that is no flag is an error, and so is a file that
// others than its owner may write, or whose owner is neither root nor this user.

const (
	configHelp = `TOML ` + "`file`" + ` with a table [%s] of flags; the command line wins`
	maxConfig  = 64 << 10

	// systemConfig holds for everybody. A type "disabled" in its [client] is
	// the policy that there is to be no Teredo on this host.
	systemConfig = "/etc/shipworm/teredo.toml"
)

// settings are the tables of a configuration file.
type settings map[string]map[string]any

// readConfig reads a configuration file.
func readConfig(path string) (settings, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := checkConfigOwner(path, info); err != nil {
		return nil, err
	}
	src, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, err
	}
	return parseConfig(path, src)
}

func checkConfigOwner(path string, info fs.FileInfo) error {
	refuse := func(why, hint string) error {
		return &exitError{exitPermission, hint, fmt.Errorf("%s: %s", path, why)}
	}
	switch {
	case !info.Mode().IsRegular():
		return refuse("not a file", "name a TOML file")
	case writableByOthers(info):
		return refuse("others may write it", "chmod go-w "+path)
	case !ownedByUs(info) && !ownedByRoot(info):
		return refuse("it belongs to somebody else", "chown root "+path)
	}
	return nil
}

func parseConfig(path string, src []byte) (settings, error) {
	var s settings
	if len(src) > maxConfig {
		return nil, usageError(fmt.Errorf("%s: larger than %d KiB", path, maxConfig>>10))
	}
	if err := toml.Unmarshal(src, &s); err != nil {
		line := 0
		if d := new(toml.DecodeError); errors.As(err, &d) {
			line, _ = d.Position()
		}
		return nil, usageError(fmt.Errorf("%s:%d: %s", path, line, strings.TrimPrefix(err.Error(), "toml: ")))
	}
	for table := range s {
		if !slices.Contains([]string{"client", "server", "relay"}, table) {
			return nil, usageError(fmt.Errorf("%s: unknown table [%s]", path, table))
		}
	}
	return s, nil
}

// addConfig gives a command the flag --config, whose file sets the others.
// Without it, files says where one may be.
func addConfig(c *cobra.Command, table string, files func() []string) {
	var path string
	c.Flags().StringVar(&path, "config", "", fmt.Sprintf(configHelp, table))
	c.PreRunE = func(c *cobra.Command, _ []string) error {
		if path != "" {
			s, err := readConfig(path)
			if err != nil {
				return err
			}
			return s.apply(path, table, c.Flags())
		}
		s, from, err := readFirstConfig(files())
		if err != nil || s == nil {
			return err
		}
		return s.apply(from, table, c.Flags())
	}
}

// readFirstConfig reads the first file that there is and that is ours to read;
// the result is nil if there is none.
func readFirstConfig(files []string) (s settings, from string, err error) {
	for _, p := range files {
		s, err := readConfig(p)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue
		}
		return s, p, err
	}
	return nil, "", nil
}

func noFiles() []string { return nil }

// clientFiles are where the client's configuration may be: the first that
// there is counts.
func clientFiles() []string {
	if os.Geteuid() == 0 {
		return []string{systemConfig}
	}
	if d, err := os.UserConfigDir(); err == nil {
		return []string{filepath.Join(d, "shipworm", "teredo.toml"), systemConfig}
	}
	return []string{systemConfig}
}

// apply sets the flags that the command line did not.
func (s settings) apply(path, table string, flags *pflag.FlagSet) error {
	for key, value := range s[table] {
		f := flags.Lookup(key)
		if f == nil || slices.Contains([]string{"config", "help", "json"}, key) {
			return usageError(fmt.Errorf("%s: [%s]: unknown key %q", path, table, key))
		}
		if f.Changed {
			continue
		}
		values, ok := value.([]any)
		if !ok {
			values = []any{value}
		}
		if _, list := f.Value.(pflag.SliceValue); ok && !list {
			return usageError(fmt.Errorf("%s: [%s]: %s: one value, not a list", path, table, key))
		}
		for _, v := range values {
			if err := f.Value.Set(fmt.Sprint(v)); err != nil {
				return usageError(fmt.Errorf("%s: [%s]: %s: %w", path, table, key, err))
			}
		}
	}
	return nil
}

// teredoDisabled reports whether the system's policy forbids Teredo. A file
// that cannot be understood forbids it, too.
func teredoDisabled() error {
	s, err := readConfig(systemConfig)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case s["client"]["type"] == typeDisabled:
		return &exitError{exitNegative, "type = \"disabled\" in " + systemConfig, errors.New("teredo: disabled on this host")}
	}
	return nil
}
