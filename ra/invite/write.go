package invite

import (
	"fmt"
	"os"
	"path/filepath"
)

// FileName is the name that an invitation has by default, on the desktop or
// wherever the User puts it: Windows' own, so that people know it.
const FileName = "Invitation.MsRcIncident"

// Write puts an invitation file at path, readable by its owner only (0600).
// The file appears whole or not at all, and replaces an older one.
func Write(path string, file []byte) (err error) {
	dir, name := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	// CreateTemp makes the file 0600.
	tmp, err := os.CreateTemp(dir, "."+name+".*")
	if err != nil {
		return fmt.Errorf("writing the invitation: %w", err)
	}
	defer func() {
		if err != nil {
			tmp.Close()
			os.Remove(tmp.Name())
			err = fmt.Errorf("writing the invitation: %w", err)
		}
	}()
	if _, err = tmp.Write(file); err != nil {
		return err
	}
	if err = tmp.Sync(); err != nil {
		return err
	}
	if err = tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
