package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"shipworm/teredo"
)

func newTeredoSetCmd(system systemFile) *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "set [--type T] [--server H] [--refresh S] [--port P]",
		Short: "Set what the Teredo client does",
		Long: `Write settings into the client's configuration file, the system's for root and
otherwise this user's own; the rest of the file stays as it is. "default" takes a
setting back. The system's file can be changed by root only, and read by all.
There --type disabled is the policy of the host: whatever uses Teredo, client,
server and relay, of whatever user, ends and does not start again.

A client of this user that runs, for root the system's, takes the change at once.
What takes a restart, such as another port, is said.`,
		Example: "  sudo shipworm teredo set --type enterpriseclient --server teredo.example.net\n  shipworm teredo set --refresh default",
		Args:    exactArgs(0),
	}
	keys := []string{"type", "server", "refresh", "port"}
	c.Flags().String("type", "", "`type` of client: client, enterpriseclient, natawareclient or disabled")
	c.Flags().String("server", "", "Teredo `server`: a name or IPv4 address, and optionally \",\" and its second one")
	c.Flags().String("refresh", "", "longest time between two solicitations, in `seconds`, 5 to 45")
	c.Flags().String("port", "", "local UDP `port`")
	c.Flags().StringVar(&path, "config", "", "the `file` to change")
	c.RunE = func(c *cobra.Command, _ []string) error {
		changes := map[string]string{}
		for _, k := range keys {
			if f := c.Flags().Lookup(k); f.Changed {
				changes[k] = f.Value.String()
			}
		}
		if len(changes) == 0 {
			return usageError(errors.New("teredo set: nothing to set"))
		}
		return setAndTell(c, system, path, changes)
	}
	return c
}

// setAndTell changes settings, and has a client that runs take them, if it is
// one with this configuration.
func setAndTell(c *cobra.Command, system systemFile, path string, changes map[string]string) error {
	own := system.clientFiles()[0].path
	if path == "" {
		path = own
	}
	if err := system.setTeredo(path, changes); errors.Is(err, fs.ErrPermission) && path == string(system) {
		return &exitError{exitPermission, "only root can change the settings of the system", err}
	} else if err != nil {
		return err
	}
	stderr := c.ErrOrStderr()
	if path != own {
		if _, err := queryControl(c.Context()); err == nil {
			fmt.Fprintf(stderr, "a client that runs goes on as before; one with --config %s takes it at its next start\n", path)
		}
		return nil
	}
	reply, err := sendControl(c.Context(), changes)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		fmt.Fprintln(stderr, "no client runs; the next one takes it")
	case isDeaf(err):
		fmt.Fprintf(stderr, "a client runs and does not answer; it takes it later, or at its next start: %v\n", err)
	case err != nil:
		fmt.Fprintf(stderr, "a client that runs takes it at its next start: %v\n", err)
	default:
		reply.tell(stderr)
	}
	return nil
}

// setTeredo changes settings in a file.
func (f systemFile) setTeredo(path string, changes map[string]string) error {
	src, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = makePublicDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("teredo set: %w", err)
	}
	for _, key := range sortedKeys(changes) {
		value, err := settingValue(key, changes[key])
		if err != nil {
			return usageError(fmt.Errorf("teredo set: --%s: %w", key, err))
		}
		src = editSetting(src, key, value)
	}
	// Whoever writes what cannot be read again has broken the file.
	s, err := parseConfig(path, src)
	if err != nil {
		return err
	}
	if err := s.apply(path, "client", newTeredoClientCmd(f).Flags()); err != nil {
		return err
	}
	if err := replaceFile(path, src); err != nil {
		return fmt.Errorf("teredo set: %w", err)
	}
	return nil
}

// settingValue is a value as TOML writes it, or "" for the default.
func settingValue(key, value string) (string, error) {
	if value == typeDefault {
		return "", nil
	}
	switch key {
	case "type":
		return strconv.Quote(value), new(clientType).Set(value)
	case "server":
		if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
			return "", fmt.Errorf("%q: want a name or address", value)
		}
		server := splitServer(value)
		if _, err := teredo.NewClient(teredo.ClientConfig{Server: server.Primary, Secondary: server.Secondary}); err != nil {
			return "", oneLine(err)
		}
		return strconv.Quote(value), nil
	case "refresh":
		n, err := strconv.Atoi(value)
		if err != nil || n < 5 || n > 45 {
			return "", fmt.Errorf("%q: want 5 to 45 seconds", value)
		}
	case "port":
		if n, err := strconv.ParseUint(value, 10, 16); err != nil || n == 0 {
			return "", fmt.Errorf("%q: want 1 to 65535", value)
		}
	}
	return value, nil
}

var (
	tableLine  = regexp.MustCompile(`^\s*\[`)
	clientLine = regexp.MustCompile(`^\s*\[\s*client\s*\]`)
)

// editSetting replaces, adds or takes out one line in the table [client]; the
// others stay, comments and all.
func editSetting(src []byte, key, value string) []byte {
	keyLine := regexp.MustCompile(`^\s*` + regexp.QuoteMeta(key) + `\s*=`)
	var out bytes.Buffer
	inside, seen := false, false
	for line := range strings.Lines(string(src)) {
		switch {
		case inside && keyLine.MatchString(line):
			continue
		case tableLine.MatchString(line):
			inside = clientLine.MatchString(line)
		}
		if !strings.HasSuffix(line, "\n") {
			line += "\n"
		}
		out.WriteString(line)
		if inside && !seen {
			seen = true
			if value != "" {
				fmt.Fprintf(&out, "%s = %s\n", key, value)
			}
		}
	}
	if !seen && value != "" {
		fmt.Fprintf(&out, "[client]\n%s = %s\n", key, value)
	}
	return out.Bytes()
}

// replaceFile writes a file that others may read, whole or not at all.
func replaceFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".teredo*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails where the rename did its work
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
