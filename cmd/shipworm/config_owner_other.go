//go:build !unix

package main

import "io/fs"

// File modes mean little here: the permissions of the directory are what there
// is.

func ownedByRoot(fs.FileInfo) bool { return false }

func writableByOthers(fs.FileInfo) bool { return false }
