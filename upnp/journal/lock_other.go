//go:build !unix

package journal

import "os"

// supported is false: without a lock that dies with its process, nobody can
// tell an orphan from a mapping in use.
const supported = false

func lock(*os.File) bool { return false }
