package main

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"shipworm/teredo"
)

// maxKeyLines is how many lines a key table may have.
const maxKeyLines = 100_000

// keyTableHelp describes the file of --key-file.
const keyTableHelp = `A key table has one line for each client: its identifier, a space and its key in
hexadecimal digits, 16 bytes or more ("openssl rand -hex 20" makes one). Lines
that begin with # are comments. The file must be readable by its owner only.`

// readKeys reads the key table of a server or a client.
func readKeys(path string) ([]teredo.Credential, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if runtime.GOOS != "windows" && (info.Mode().Perm()&0o077 != 0 || !info.Mode().IsRegular()) {
		return nil, &exitError{exitPermission, "chmod 600 " + path, fmt.Errorf("%s: others may read the keys", path)}
	}
	keys := []teredo.Credential{}
	sc := bufio.NewScanner(f)
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		id, digits, _ := strings.Cut(line, " ")
		key, err := hex.DecodeString(strings.TrimSpace(digits))
		if err != nil { // it would quote the key
			err = errors.New("want an identifier, a space and hexadecimal digits")
		} else {
			err = teredo.Credential{ID: id, Key: key}.Check()
		}
		switch {
		case err != nil:
			return nil, usageError(fmt.Errorf("%s:%d: %w", path, n, err))
		case n > maxKeyLines:
			return nil, usageError(fmt.Errorf("%s: more than %d lines", path, maxKeyLines))
		}
		keys = append(keys, teredo.Credential{ID: id, Key: key})
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}

// credential returns the key of one client, or none if neither flag is given.
func credential(id, path string) (teredo.Credential, error) {
	switch {
	case id == "" && path == "":
		return teredo.Credential{}, nil
	case id == "" || path == "":
		return teredo.Credential{}, usageError(errors.New("teredo: --client-id and --key-file belong together"))
	}
	keys, err := readKeys(path)
	if err != nil {
		return teredo.Credential{}, err
	}
	for _, k := range keys {
		if k.ID == id {
			return k, nil
		}
	}
	return teredo.Credential{}, usageError(fmt.Errorf("%s: no key of %.40q", path, id))
}
