//go:build linux

package main

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// logs reads both session logs as any XML reader would, and looks for the
// events of this play in each.
func (p *play) logs(context.Context) error {
	for _, side := range []string{"user", "helper"} {
		files, err := filepath.Glob(filepath.Join(p.cfg.out, side, "2*.xml"))
		if err != nil {
			return err
		}
		if len(files) == 0 {
			return fmt.Errorf("the %s's side left no session log", side)
		}
		path := slices.Max(files) // named by date and time
		seen, err := elements(path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, want := range []string{
			"SESSION", "INVITATION_OPENED", "CONNECTION_ESTABLISHED", "EXPERT_REQUEST_CONTROL",
			"EXPERT_GRANTED_CONTROL", "EXPERT_CONTROL_STARTED", "CHAT_MESSAGE", "CONNECTION_ENDED",
		} {
			if seen[want] == "" {
				return fmt.Errorf("%s: no %s", path, want)
			}
		}
		for _, words := range []string{helperSays, userSays} {
			if !strings.Contains(seen["CHAT_MESSAGE"], words) {
				return fmt.Errorf("%s: the chat %q is missing", path, words)
			}
		}
		p.say("the %s's session log is complete: %s", side, filepath.Base(path))
	}
	return nil
}

// elements returns for each element name the attributes and text of all its
// elements, at least "-".
func elements(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	seen := map[string]string{}
	name := ""
	for d := xml.NewDecoder(f); ; {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return seen, nil
		}
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			name = t.Name.Local
			seen[name] += "-"
			for _, a := range t.Attr {
				seen[name] += " " + a.Value
			}
		case xml.CharData:
			if name != "" {
				seen[name] += " " + string(t)
			}
		}
	}
}
