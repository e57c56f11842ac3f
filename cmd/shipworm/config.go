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
	var tables map[string]any
	if len(src) > maxConfig {
		return nil, usageError(fmt.Errorf("%s: larger than %d KiB", path, maxConfig>>10))
	}
	if err := toml.Unmarshal(src, &tables); err != nil {
		line := 0
		if d := new(toml.DecodeError); errors.As(err, &d) {
			line, _ = d.Position()
		}
		return nil, usageError(fmt.Errorf("%s:%d: %s", path, line, strings.TrimPrefix(err.Error(), "toml: ")))
	}
	s := settings{}
	var errs []error
	for _, name := range sortedKeys(tables) {
		table, ok := tables[name].(map[string]any)
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("%q is not a table", name))
		case !slices.Contains([]string{"client", "server", "relay"}, name):
			errs = append(errs, fmt.Errorf("unknown table [%s]", name))
		}
		s[name] = table
	}
	return s, configError(path, errs)
}

// configError is what is wrong with a file, all of it.
func configError(path string, errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	return usageError(fmt.Errorf("%s: %w", path, oneLine(errors.Join(errs...))))
}

// addConfig gives a command the flag --config, whose file sets the others.
// Without it, those of files do that there are, an earlier one first.
func addConfig(c *cobra.Command, table string, files []configFile) {
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
		for _, f := range files {
			s, err := f.read()
			if err == nil {
				err = s.apply(f.path, table, c.Flags())
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// configFile is where a configuration may be.
type configFile struct {
	path string
	keys []string // of [client] that count; nil for all
}

// read returns nothing if there is no such file, or none for us.
func (f configFile) read() (settings, error) {
	s, err := readConfig(f.path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil, nil
	}
	if f.keys != nil {
		for key := range s["client"] {
			if !slices.Contains(f.keys, key) {
				delete(s["client"], key)
			}
		}
	}
	return s, err
}

// clientFiles are where the client's configuration may be. For what the user's
// own file does not say, the system's counts, as far as it is about the network
// and not about the system's own client: a port cannot be had twice.
func (f systemFile) clientFiles() []configFile {
	if os.Geteuid() == 0 {
		return []configFile{{path: string(f)}}
	}
	system := configFile{string(f), []string{"server", "fallback", "type", "refresh", "network"}}
	if d, err := os.UserConfigDir(); err == nil {
		return []configFile{{path: filepath.Join(d, "shipworm", "teredo.toml")}, system}
	}
	return []configFile{system}
}

// apply sets the flags that neither the command line nor an earlier file did.
func (s settings) apply(path, table string, flags *pflag.FlagSet) error {
	var errs []error
	for _, key := range sortedKeys(s[table]) {
		f := flags.Lookup(key)
		if f == nil || slices.Contains([]string{"config", "help", "json"}, key) {
			errs = append(errs, fmt.Errorf("[%s]: unknown key %q", table, key))
		} else if !f.Changed {
			if err := setFlag(f, s[table][key]); err != nil {
				errs = append(errs, fmt.Errorf("[%s]: %s: %w", table, key, err))
			}
		}
	}
	return configError(path, errs)
}

// setFlag gives a flag a value of TOML's.
func setFlag(f *pflag.Flag, value any) error {
	values, ok := value.([]any)
	if !ok {
		values = []any{value}
	}
	if _, list := f.Value.(pflag.SliceValue); ok && !list {
		return errors.New("one value, not a list")
	}
	for _, v := range values {
		switch v.(type) {
		case string, bool, int64, float64:
		default:
			return errors.New("want a string, a number, true or false")
		}
		if err := f.Value.Set(fmt.Sprint(v)); err != nil {
			return plainFlagError(err)
		}
	}
	f.Changed = true
	return nil
}
