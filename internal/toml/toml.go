// Package toml is where pelletier/go-toml enters, for the files that people
// write: scenarios, which want to know where in the file everything stands, and
// configuration, which only wants values.
//
// The parser, its nodes and kinds are go-toml's own, by other names: it has
// walked the language's grammar so that we need not. It leaves to Unmarshal
// what the grammar does not say, such as a key given twice.
//
//	var v map[string]map[string]any
//	err := toml.Unmarshal(src, &v)
package toml

import (
	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// Parser, Node and Kind are go-toml's.
type (
	Parser = unstable.Parser
	Node   = unstable.Node
	Kind   = unstable.Kind
)

// DecodeError is an error of Unmarshal that knows its place.
type DecodeError = toml.DecodeError

// Kinds of nodes.
const (
	KeyValue    = unstable.KeyValue
	Table       = unstable.Table
	ArrayTable  = unstable.ArrayTable
	InlineTable = unstable.InlineTable
	Array       = unstable.Array
	String      = unstable.String
	Bool        = unstable.Bool
	Integer     = unstable.Integer
	Float       = unstable.Float
)

// Unmarshal decodes a document into v, by all rules of the language.
func Unmarshal(src []byte, v any) error { return toml.Unmarshal(src, v) }
