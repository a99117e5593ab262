package pgerr_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgerr"
)

func TestSQLState(t *testing.T) {
	t.Parallel()
	const retry, wait = true, true
	for _, test := range []struct {
		code     string
		category pgerr.Category
		retry    bool
		wait     bool
	}{
		{"08000", pgerr.Connection, retry, wait},
		{"08001", pgerr.Refused, !retry, wait},
		{"08003", pgerr.Connection, retry, wait},
		{"08004", pgerr.Refused, !retry, wait},
		{"08006", pgerr.Connection, retry, wait},
		{"08007", pgerr.CommitUnknown, !retry, !wait},
		{"08P01", pgerr.Connection, !retry, !wait},
		{"0A000", pgerr.Statement, !retry, !wait},
		{"21000", pgerr.Data, !retry, !wait},
		{"22003", pgerr.Data, !retry, !wait},
		{"22P02", pgerr.Data, !retry, !wait},
		{"23502", pgerr.Constraint, !retry, !wait},
		{"23503", pgerr.Constraint, !retry, !wait},
		{"23505", pgerr.Constraint, !retry, !wait},
		{"23P01", pgerr.Constraint, !retry, !wait},
		{"25001", pgerr.Statement, !retry, !wait},
		{"25006", pgerr.ReadOnly, !retry, wait},
		{"25P02", pgerr.Statement, !retry, !wait},
		{"25P03", pgerr.Timeout, !retry, wait},
		{"25P04", pgerr.Timeout, !retry, wait},
		{"26000", pgerr.Statement, !retry, !wait},
		{"28000", pgerr.Auth, !retry, !wait},
		{"28P01", pgerr.Auth, !retry, !wait},
		{"3D000", pgerr.Config, !retry, !wait},
		{"3F000", pgerr.Statement, !retry, !wait},
		{"40001", pgerr.Serialization, retry, !wait},
		{"40002", pgerr.Constraint, !retry, !wait},
		{"40003", pgerr.CommitUnknown, !retry, !wait},
		{"40P01", pgerr.Deadlock, retry, !wait},
		{"42501", pgerr.Permission, !retry, !wait},
		{"42601", pgerr.Statement, !retry, !wait},
		{"42704", pgerr.Statement, !retry, !wait},
		{"42P01", pgerr.Statement, !retry, !wait},
		{"42P05", pgerr.Statement, !retry, !wait},
		{"42P07", pgerr.Statement, !retry, !wait},
		{"44000", pgerr.Constraint, !retry, !wait},
		{"53100", pgerr.Resource, !retry, !wait},
		{"53200", pgerr.Resource, !retry, !wait},
		{"53300", pgerr.TooManyConnections, retry, wait},
		{"54001", pgerr.Statement, !retry, !wait},
		{"55006", pgerr.Statement, !retry, !wait},
		{"55P03", pgerr.LockTimeout, !retry, !wait},
		{"57014", pgerr.Timeout, !retry, wait},
		{"57P01", pgerr.Shutdown, retry, wait},
		{"57P02", pgerr.Shutdown, retry, wait},
		{"57P03", pgerr.StartingUp, retry, wait},
		{"57P04", pgerr.Config, !retry, !wait},
		{"57P05", pgerr.Connection, retry, wait},
		{"58030", pgerr.Internal, !retry, !wait},
		{"F0000", pgerr.Internal, !retry, !wait},
		{"P0001", pgerr.Raised, !retry, !wait},
		{"P0002", pgerr.NotFound, !retry, !wait},
		{"XX000", pgerr.Internal, !retry, !wait},
		{"ZZ999", pgerr.Unknown, !retry, !wait},
		{"", pgerr.Unknown, !retry, !wait},
	} {
		t.Run(test.code, func(t *testing.T) {
			t.Parallel()
			check(t, fmt.Errorf("update: %w", &pgconn.PgError{Code: test.code, Severity: "ERROR"}), test.category, test.retry, test.wait)
		})
	}
}

func TestPgBouncer(t *testing.T) {
	t.Parallel()
	// Texts of PgBouncer 1.18's source, all sent with 08P01.
	for _, test := range []struct {
		message  string
		category pgerr.Category
		retry    bool
		wait     bool
	}{
		{"server login has been failing, try again later (server_login_retry)", pgerr.Refused, true, true},
		{"no more connections allowed (max_client_conn)", pgerr.TooManyConnections, true, true},
		{"query_wait_timeout", pgerr.Saturated, false, true},
		{"unsupported startup parameter: statement_timeout", pgerr.Config, false, false},
		{"no such user: nobody", pgerr.Auth, false, false},
		{"no such database: nothing", pgerr.Config, false, false},
		{"server conn crashed?", pgerr.Connection, true, true},
		{"bad packet", pgerr.Connection, false, false},
	} {
		t.Run(test.message, func(t *testing.T) {
			t.Parallel()
			check(t, &pgconn.PgError{Code: "08P01", Severity: "FATAL", Message: test.message}, test.category, test.retry, test.wait)
		})
	}
}

// check asks all three questions.
func check(t *testing.T, err error, category pgerr.Category, retry, wait bool) {
	t.Helper()
	if got := pgerr.Of(err); got != category {
		t.Errorf("Of(%v) = %q, want %q", err, got, category)
	}
	if got := pgerr.Retryable(err); got != retry {
		t.Errorf("Retryable(%v) = %t, want %t", err, got, retry)
	}
	if got := pgerr.Startup(err); got != wait {
		t.Errorf("Startup(%v) = %t, want %t", err, got, wait)
	}
}
