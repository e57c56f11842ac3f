//go:build !unix

package sessionlog

import "os"

// lock reports that nobody else holds the file. Without advisory locks a log
// could be repaired while its session lives, in the moment of a write only:
// between two writes its end is whole, and it is left alone.
func lock(*os.File) bool { return true }
