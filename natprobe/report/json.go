package report

import (
	"encoding/json"
	"fmt"
)

// plain is Report without its methods.
type plain Report

// reportFile is a Report as it stands in JSON.
type reportFile struct {
	Schema  int    `json:"schema"`
	Classic string `json:"rfc3489"`
	Netsh   string `json:"netsh"`
	plain
}

// MarshalJSON writes the report, schema 1.
func (r Report) MarshalJSON() ([]byte, error) {
	return json.Marshal(reportFile{Schema, r.Classic(), r.Netsh(), plain(r)})
}

// UnmarshalJSON reads what MarshalJSON writes. It ignores what it does not
// know, but for another schema.
func (r *Report) UnmarshalJSON(b []byte) error {
	var f reportFile
	if err := json.Unmarshal(b, &f); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if f.Schema != Schema {
		return fmt.Errorf("report: schema %d, expected \"schema\": %d", f.Schema, Schema)
	}
	*r = Report(f.plain)
	return nil
}
