package pgerr

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// Violation is the constraint that a statement violated.
type Violation struct {
	// Name is the caller's name for the constraint, or "" if it declared none.
	Name string
	// Kind is "unique", "foreign_key", "check", "not_null", "exclusion", "restrict" or "integrity".
	Kind string
	// Schema, Table and Constraint are the server's names. Constraint is "" for a column that is
	// not null before PostgreSQL 18.
	Schema, Table, Constraint string
	// Columns are the ones that the caller declared, or the column of a not-null constraint. The
	// server names no others, except in a text for people.
	Columns []string
}

// DeclaredConstraint describes a constraint of the caller's schema.
type DeclaredConstraint struct {
	Name    string
	Columns []string
}

// Constraints declares constraints by "table.constraint", and not-null ones by "table.column". A
// unique index counts as a constraint. CheckConstraints of package pgquery/pgquerytest compares
// them with a database.
type Constraints map[string]DeclaredConstraint

var violations = map[string]string{
	"23000": "integrity",
	"23001": "restrict",
	"23502": "not_null",
	"23503": "foreign_key",
	"23505": "unique",
	"23514": "check",
	"23P01": "exclusion",
}

// ViolationOf returns the constraint that err is about. It returns false if err is about none.
// Constraints may be nil. The result never holds a value of the row.
func ViolationOf(err error, constraints Constraints) (Violation, bool) {
	var server *pgconn.PgError
	if isNil(err) || !errors.As(err, &server) || server == nil || violations[server.Code] == "" {
		return Violation{}, false
	}
	v := Violation{
		Kind:       violations[server.Code],
		Schema:     server.SchemaName,
		Table:      server.TableName,
		Constraint: server.ConstraintName,
	}
	declared, ok := constraints[v.Table+"."+v.Constraint]
	if v.Kind == "not_null" {
		v.Columns = []string{server.ColumnName}
		declared, ok = constraints[v.Table+"."+server.ColumnName]
	}
	if ok {
		v.Name = declared.Name
	}
	if declared.Columns != nil {
		v.Columns = declared.Columns
	}
	return v, true
}
