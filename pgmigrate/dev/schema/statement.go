package schema

import (
	"regexp"
	"strings"
)

// Statement is one that changes a schema. SQL has no semicolon at its end.
type Statement struct {
	SQL     string
	Hazards []Hazard
}

// Hazard is what a statement may do to an application that is running.
type Hazard struct {
	Type    string // pg-schema-diff's word, such as DELETES_DATA
	Message string
}

// Hazards of statements that pg-schema-diff does not make, in its words.
var (
	hazardRewrite = Hazard{
		"ACQUIRES_ACCESS_EXCLUSIVE_LOCK",
		"This rewrites the whole table, and locks out reads and writes while it does.",
	}
	hazardRecreate = Hazard{
		"HAS_UNTRACKABLE_DEPENDENCIES",
		"The object is dropped and made anew: what depends on it may be in the way, and is not changed.",
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

// DeletesData reports whether data is lost that taking the statement back does not bring back.
func (s Statement) DeletesData() bool {
	for _, h := range s.Hazards {
		if h.Type == deletesData {
			return true
		}
	}
	return false
}
