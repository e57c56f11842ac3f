package matrix

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Schema is the version of the JSON form. It grows only if a reader of the
// old form would misunderstand the new one.
const Schema = 1

// jsonTable is the file: the form of --json, --save and --check.
type jsonTable struct {
	Schema int           `json:"schema"`
	Method string        `json:"method"`
	Title  string        `json:"title"`
	Seed   uint64        `json:"seed"`
	Runs   int           `json:"runs"`
	Loss   float64       `json:"loss"`
	Limit  time.Duration `json:"limit_ns"`
	NATs   []string      `json:"nats"`
	Cells  []Cell        `json:"cells"`
}

// WriteJSON writes the table without its ladders.
func (t *Table) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(jsonTable{Schema, t.Method, t.Title, t.Seed, t.Runs, t.Loss, t.Limit, t.NATs, t.Cells})
}

// ErrNotATable reports a file that WriteJSON did not write.
var ErrNotATable = errors.New("not a table of testnet matrix")

// ReadJSON reads what WriteJSON wrote. Its errors wrap ErrNotATable.
func ReadJSON(b []byte) (*Table, error) {
	var j jsonTable
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&j); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotATable, err)
	}
	if j.Schema != Schema {
		return nil, fmt.Errorf("%w: schema %d, want %d", ErrNotATable, j.Schema, Schema)
	}
	if n := len(j.NATs); j.Method == "" || n == 0 || n > MaxNATs || len(j.Cells) != n*n {
		return nil, fmt.Errorf("%w: method %q with %d NATs and %d cells", ErrNotATable, j.Method, n, len(j.Cells))
	}
	for i, c := range j.Cells {
		from, to := j.NATs[i/len(j.NATs)], j.NATs[i%len(j.NATs)]
		if c.From != from || c.To != to || c.Outcome.rank() < 0 {
			return nil, fmt.Errorf("%w: cell %d is %s to %s, %q; want %s to %s", ErrNotATable, i, c.From, c.To, c.Outcome, from, to)
		}
	}
	return &Table{
		Method: j.Method, Title: j.Title, NATs: slices.Clone(j.NATs), Loss: j.Loss, Runs: j.Runs,
		Seed: j.Seed, Limit: j.Limit, Cells: j.Cells,
	}, nil
}
