package lint

import "fmt"

// Severity says what a finding means for a deployment.
type Severity string

// The severities. A pipeline should stop at errors.
const (
	SeverityError   Severity = "error"   // queries will wait or fail, or data is lost
	SeverityWarning Severity = "warning" // depends on what else runs; look at it
	SeverityHint    Severity = "hint"    // harmless today, expensive to change later
)

// Finding is one thing that one statement does.
type Finding struct {
	Rule      string
	Severity  Severity
	Version   int32
	File      string
	Line      int    // of the statement, counted from 1; 0 if a template moved the lines
	Statement string // its SQL
	Message   string // what it does, with names
	Why       string // what that means on a table in use
	Fix       string // the safe form: SQL, or a sentence where there is none
}

// Allow returns the comment that allows the finding.
func (f Finding) Allow() string { return fmt.Sprintf("-- pgmigrate:allow %s REASON", f.Rule) }
