package scenario

import "os/exec"

// Installed returns a *FileError that names every program of the scenario which
// this machine does not have, or nil. The simulation does without them.
func (s *Scenario) Installed() error {
	var p problems
	for _, g := range s.Programs {
		if g.Kind != Other {
			continue
		}
		if _, err := exec.LookPath(g.Args[0]); err != nil {
			p.add(g.execAt, "there is no program %q on this machine: want one that is installed, or its path", g.Args[0])
		}
	}
	return p.err()
}
