package pghealth

import "github.com/page-builder/persistence/pgerr"

// FailedError is what a check of [Probe.Checks] returns. Its text is fit for the public, because
// health.Checker's default ResultWriter serves it: no host, user or SQL. The cause, with all of
// them, is what it wraps, for the application's own listeners.
type FailedError struct {
	check    string
	output   string
	category pgerr.Category
	cause    error
}

// Error returns the check's name and a sentence of this package: "postgres:connectivity: the
// session cannot write".
func (e *FailedError) Error() string { return e.check + ": " + e.output }

// Check returns the name of the check that failed.
func (e *FailedError) Check() string { return e.check }

// Category returns what kind of failure it is, or "" where no error of the database is behind it.
func (e *FailedError) Category() pgerr.Category { return e.category }

// Unwrap returns the cause, which may be nil.
func (e *FailedError) Unwrap() error { return e.cause }
