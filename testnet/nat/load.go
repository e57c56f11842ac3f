package nat

import (
	"fmt"
	"os"
)

// LoadProfile is ReadProfile of the file at a path. It is the one function of
// this package that does not only compute.
func LoadProfile(path string) (Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return Config{}, fmt.Errorf("nat: profile: %w", err)
	}
	defer f.Close()
	c, err := ReadProfile(f)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}
