package sessionlog

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// DirName is the folder of the logs inside the documents, as at the source.
const DirName = "Remote Assistance Logs"

// DefaultDir returns the folder of the logs: [DirName] in the documents
// folder that the desktop names (XDG user directories), else in ~/Documents.
func DefaultDir() (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	conf, err := os.UserConfigDir()
	if err != nil {
		return filepath.Join(home, "Documents", DirName), nil
	}
	return filepath.Join(documents(home, filepath.Join(conf, "user-dirs.dirs")), DirName), nil
}

// documents reads XDG_DOCUMENTS_DIR from a user-dirs.dirs file: a line
// XDG_DOCUMENTS_DIR="$HOME/Papers" or ="/absolute". Anything else falls back
// to ~/Documents.
func documents(home, file string) string {
	fallback := filepath.Join(home, "Documents")
	f, err := os.Open(file)
	if err != nil {
		return fallback
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		v, ok := strings.CutPrefix(strings.TrimSpace(s.Text()), "XDG_DOCUMENTS_DIR=")
		if !ok {
			continue
		}
		v = strings.Trim(v, `"`)
		if rest, ok := strings.CutPrefix(v, "$HOME"); ok {
			v = home + rest
		}
		if filepath.IsAbs(v) {
			return filepath.Clean(v)
		}
	}
	return fallback
}

// makeDir makes dir with mode 0700. A folder that exists keeps its mode, for a
// person may share a folder of his own choice; only our default one is closed.
func makeDir(dir string, ours bool) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	err := os.Mkdir(dir, 0o700)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return &fs.PathError{Op: "mkdir", Path: dir, Err: errors.New("not a directory")}
	case ours && info.Mode().Perm()&0o077 != 0:
		return os.Chmod(dir, 0o700)
	}
	return nil
}
