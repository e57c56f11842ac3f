package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// maxPasswordFile bounds what is read as a password, in bytes.
const maxPasswordFile = 1024

// passwordFlags say where a password comes from: never from argv or the
// environment, which others can read (C-01).
type passwordFlags struct {
	file string
	fd   int
}

func (f *passwordFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.file, "password-file", "", "read the password from this file, which only you may read")
	c.Flags().IntVar(&f.fd, "password-fd", -1, "read the password from this open file descriptor")
}

func (f *passwordFlags) given() bool { return f.file != "" || f.fd >= 0 }

// read returns the password as it was typed or stored, without the line's end.
func (f *passwordFlags) read(ctx context.Context, prompt string) (string, error) {
	switch {
	case f.file != "" && f.fd >= 0:
		return "", usageError(errors.New("--password-file and --password-fd exclude each other"))
	case f.file != "":
		file, err := os.Open(f.file)
		if err != nil {
			return "", err
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return "", err
		}
		if runtime.GOOS != "windows" && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
			return "", &exitError{exitPermission, "chmod 600 " + f.file, fmt.Errorf("%s: others may read the password", f.file)}
		}
		return firstLine(file)
	case f.fd >= 0:
		file := os.NewFile(uintptr(f.fd), "password")
		if file == nil {
			return "", usageError(fmt.Errorf("--password-fd %d: no such descriptor", f.fd))
		}
		defer file.Close()
		return firstLine(file)
	}
	return promptPassword(ctx, prompt)
}

func firstLine(r io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxPasswordFile+1))
	if err != nil {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if len(b) > maxPasswordFile || strings.TrimSpace(line) == "" {
		return "", errors.New("reading the password: there is none")
	}
	return strings.TrimSpace(line), nil
}

// promptPassword asks on the terminal itself, so that stdin stays free for
// chat, and shows nothing of what is typed. When ctx ends first, the terminal
// shows again what is typed on it.
func promptPassword(ctx context.Context, prompt string) (string, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		if !term.IsTerminal(int(os.Stdin.Fd())) {
			return "", withHint(usageError(errors.New("there is no terminal to ask for the password on")), "use --password-file or --password-fd")
		}
		tty = os.Stdin
	}
	fd := int(tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	fmt.Fprint(os.Stderr, prompt)
	type answer struct {
		typed []byte
		err   error
	}
	answered := make(chan answer, 1)
	go func() {
		typed, err := term.ReadPassword(fd)
		answered <- answer{typed, err}
	}()
	select {
	case a := <-answered:
		fmt.Fprintln(os.Stderr)
		if tty != os.Stdin {
			tty.Close()
		}
		if a.err != nil {
			return "", fmt.Errorf("reading the password: %w", a.err)
		}
		return firstLine(bytes.NewReader(a.typed))
	case <-ctx.Done():
		// Nothing but the end of the process ends the read.
		term.Restore(fd, before)
		fmt.Fprintln(os.Stderr)
		return "", ctx.Err()
	}
}

// mayWritePassword reports what would keep writePassword from its work.
func mayWritePassword(name string) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".password-*")
	if err != nil {
		return fmt.Errorf("--password-file: %w", err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// writePassword puts the password into a file that only its owner may read.
// The file appears whole, and an older one is replaced, not written into.
func writePassword(name, password string) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".password-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.WriteString(password + "\n")
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
