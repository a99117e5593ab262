package schema

import (
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Statement changes a schema. SQL has no semicolon at its end.
type Statement struct {
	SQL     string
	Hazards []Hazard
	Check   Check // zero if no row can make the statement fail, or no query finds it

	// Backfill gives rows the values that the statement requires. Its table is "" if no rows need
	// values.
	Backfill Backfill

	object *Object
}

// Check is a query for rows that make a statement fail.
type Check struct{ Message, SQL string }

// Backfill names rows that lack a value: the rows of the table with a null in the column. All names
// are quoted where they must be.
type Backfill struct {
	Table, Column string
	Key           []string
	Value         string // the column's default; "" if it has none
}

// Object identifies the object that the statement creates, changes or drops. It is the zero Object
// for settings.
func (s Statement) Object() Object {
	if s.object == nil {
		return Object{}
	}
	return *s.object
}

// Hazard describes what a statement may do to a running application.
type Hazard struct {
	Type    string // such as DELETES_DATA
	Message string
}

var (
	hazardRewrite = Hazard{
		"ACQUIRES_ACCESS_EXCLUSIVE_LOCK",
		"This rewrites the whole table, and blocks reads and writes while it does.",
	}
	hazardRecreate = Hazard{
		"HAS_UNTRACKABLE_DEPENDENCIES",
		"This drops the object; a statement below creates it again.",
	}
	hazardNarrows = Hazard{
		"CORRECTNESS", "Values that do not fit the new type are truncated or rounded, or make the statement fail.",
	}
	hazardIndexDropped = Hazard{
		"INDEX_DROPPED", "Queries that use the index get slow. A unique index no longer keeps its values unique.",
	}
	hazardUnique = Hazard{
		"EXISTING_ROWS", "Duplicate rows make the build fail and leave an invalid index.",
	}
	hazardKeyDropped = Hazard{
		"INDEX_DROPPED", "Nothing keeps the rows unique until the key is created again below.",
	}
	hazardRefresh = Hazard{
		"IMPACTS_DATABASE_PERFORMANCE", "This runs the query of the view, and blocks its readers until it is done.",
	}
	hazardGrant = Hazard{"AUTHZ_UPDATE", "This changes who may do what."}
)

var (
	// Inside quotes and comments the word does not count, so it is looked for only where
	// PostgreSQL's grammar has it.
	concurrently = regexp.MustCompile(`(?is)^\s*(CREATE\s+(UNIQUE\s+)?INDEX\s+CONCURRENTLY|` +
		`DROP\s+INDEX\s+CONCURRENTLY|REINDEX\b[^;]*\bCONCURRENTLY|` +
		`ALTER\s+TABLE\b[^;']*\bDETACH\s+PARTITION\b[^;']*\bCONCURRENTLY|` +
		`REFRESH\s+MATERIALIZED\s+VIEW\s+CONCURRENTLY)\b`)
	validates   = regexp.MustCompile(`(?is)^\s*ALTER\s+TABLE\b[^;']*\bVALIDATE\s+CONSTRAINT\b`)
	addsEnum    = regexp.MustCompile(`(?is)^\s*ALTER\s+TYPE\b[^;']*\bADD\s+VALUE\b`)
	deletesData = "DELETES_DATA"
)

// UncheckedBodies is the setting that lets a function come before the objects in its body.
const UncheckedBodies = "SET check_function_bodies = off"

// HasBody reports whether the statement makes a function whose body the server checks.
func (s Statement) HasBody() bool {
	kind := s.Object().Type
	return (kind == "FUNCTION" || kind == "PROCEDURE") && strings.Contains(s.SQL, "\n    LANGUAGE sql")
}

// Transactional reports whether the statement can run in a transaction.
func (s Statement) Transactional() bool {
	match := concurrently.FindString(s.SQL)
	return match == "" || strings.HasPrefix(strings.ToUpper(strings.TrimSpace(match)), "REFRESH")
}

// Validates reports whether the statement is a VALIDATE CONSTRAINT: it reads the whole table under
// a lock that lets readers and writers through, unless an earlier statement of its transaction
// holds a stronger one.
func (s Statement) Validates() bool { return validates.MatchString(s.SQL) }

// AddsEnumValue reports whether the statement adds a value that the rest of its transaction may not
// use.
func (s Statement) AddsEnumValue() bool { return addsEnum.MatchString(s.SQL) }

// DeletesData reports whether the statement loses data that undoing it does not restore.
func (s Statement) DeletesData() bool {
	for _, h := range s.Hazards {
		if h.Type == deletesData {
			return true
		}
	}
	return false
}

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }
