package scenario

import (
	"fmt"
	"slices"
	"strings"
)

// A Problem is one thing that is wrong with a scenario file.
type Problem struct {
	Line, Column int    // from 1; a column is a character
	Message      string // what is wrong and what was expected
}

// String returns the problem as compilers print it, without the file's name.
func (p Problem) String() string {
	return fmt.Sprintf("%d:%d: %s", p.Line, p.Column, p.Message)
}

// A FileError holds everything that is wrong with a scenario file, in the order
// of the file.
type FileError struct {
	Problems []Problem // at least one
}

func (e *FileError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// position is a place in the file.
type position struct{ line, column int }

// problems collects what is wrong.
type problems struct{ list []Problem }

func (p *problems) add(at position, format string, args ...any) {
	p.list = append(p.list, Problem{at.line, at.column, fmt.Sprintf(format, args...)})
}

// err returns the problems in the order of the file, or nil.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return &FileError{Problems: p.list}
}

// oneOf lists what would have been right.
func oneOf(names []string) string {
	if len(names) == 0 {
		return "there is none"
	}
	return "want " + strings.Join(names, ", ")
}
