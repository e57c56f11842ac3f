package igd

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Bounds of a document.
const (
	MaxDepth    = 16
	MaxElements = 1000
)

// ErrXML is wrapped by what is wrong with a document.
var ErrXML = errors.New("igd: not an XML document that is read here")

// checkXML reads a document through and refuses what a decoder could choke on:
// nesting, numbers, a DTD, another encoding than UTF-8, truncation. The empty
// document passes: it is an answer without a body.
func checkXML(b []byte) error {
	d := xml.NewDecoder(bytes.NewReader(b)) // without a CharsetReader: UTF-8 only
	depth, elements := 0, 0
	for {
		t, err := d.RawToken()
		if err == io.EOF {
			if depth != 0 {
				return fmt.Errorf("%w: ends inside an element", ErrXML)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrXML, err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			depth++
			elements++
		case xml.EndElement:
			depth--
		case xml.Directive:
			return fmt.Errorf("%w: it has a DTD", ErrXML)
		case xml.ProcInst:
			if t.Target == "xml" && !utf8Declared(string(t.Inst)) {
				return fmt.Errorf("%w: not in UTF-8", ErrXML)
			}
		}
		if depth < 0 || depth > MaxDepth || elements > MaxElements {
			return fmt.Errorf("%w: deeper than %d or more than %d elements", ErrXML, MaxDepth, MaxElements)
		}
	}
}

// utf8Declared is true of a declaration that names no other encoding.
func utf8Declared(inst string) bool {
	_, after, ok := strings.Cut(inst, "encoding")
	if !ok {
		return true
	}
	name := strings.Trim(strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(after), "=")), `"'`)
	return strings.EqualFold(name, "utf-8") || strings.HasPrefix(strings.ToLower(name), `utf-8"`) || strings.HasPrefix(strings.ToLower(name), `utf-8'`)
}
