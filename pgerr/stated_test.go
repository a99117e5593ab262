package pgerr_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgerr"
)

// saturated is like an error of a pool: it states its category and wraps a context's error.
type saturated struct{ error }

func (saturated) Category() pgerr.Category { return pgerr.Saturated }
func (e saturated) Unwrap() error          { return e.error }

// commitUnknown is like an error of a transaction runner: retrying is wrong whatever it wraps.
type commitUnknown struct{ error }

func (commitUnknown) Category() pgerr.Category { return pgerr.CommitUnknown }
func (commitUnknown) Retryable() bool          { return false }
func (e commitUnknown) Unwrap() error          { return e.error }

type noCategory struct{ error }

func (noCategory) Category() pgerr.Category { return "" }
func (e noCategory) Unwrap() error          { return e.error }

type onlyRetryable struct {
	error
	again bool
}

func (e onlyRetryable) Retryable() bool { return e.again }
func (e onlyRetryable) Unwrap() error   { return e.error }

type lost struct{ error }

func (lost) Category() pgerr.Category { return pgerr.Connection }
func (e lost) Unwrap() error          { return e.error }

type lagging struct{ error }

func (lagging) Category() pgerr.Category { return pgerr.Lagging }

type deadlock struct{ error }

func (deadlock) Category() pgerr.Category { return pgerr.Deadlock }

type unknowable struct{ error }

func (unknowable) Category() pgerr.Category { return pgerr.Unknown }

type nothing struct{}

func (nothing) Error() string { return "nothing" }
func (nothing) Unwrap() error { return nil }

func TestStated(t *testing.T) {
	t.Parallel()
	down := &pgconn.PgError{Code: "57P01"}
	for _, test := range []struct {
		name     string
		err      error
		category pgerr.Category
		retry    bool
		wait     bool
	}{
		{"category", saturated{context.DeadlineExceeded}, pgerr.Saturated, false, true},
		{
			"category wrapped", fmt.Errorf("publish: %w", saturated{context.DeadlineExceeded}), pgerr.Saturated, false,
			true,
		},
		{"outermost wins", commitUnknown{down}, pgerr.CommitUnknown, false, false},
		{"empty category", noCategory{down}, pgerr.Shutdown, true, true},
		{"retryable only, no", onlyRetryable{down, false}, pgerr.Shutdown, false, true},
		{"retryable only, yes", onlyRetryable{&pgconn.PgError{Code: "23505"}, true}, pgerr.Constraint, true, false},
		{"connection", lost{io.ErrUnexpectedEOF}, pgerr.Connection, true, true},
		{"connection given up by us", lost{context.DeadlineExceeded}, pgerr.Connection, false, true},
		{"unknown", unknowable{down}, pgerr.Unknown, false, false},
		{"nothing wrapped", noCategory{nothing{}}, pgerr.Unknown, false, false},
		{"lagging", lagging{io.EOF}, pgerr.Lagging, false, true},
		{"category that repeats", deadlock{io.EOF}, pgerr.Deadlock, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			check(t, test.err, test.category, test.retry, test.wait)
		})
	}
}

// TestForeign: errors that do not come from a database are not mistaken for ones that do.
func TestForeign(t *testing.T) {
	t.Parallel()
	_, noFile := os.Open("/nothing/here")
	check(t, noFile, pgerr.Unknown, false, false)
	check(t, io.EOF, pgerr.Unknown, false, false)
}
