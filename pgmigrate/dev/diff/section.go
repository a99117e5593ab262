package diff

import (
	"slices"

	"github.com/page-builder/persistence/pgmigrate/dev/schema"
)

// section holds the statements of one file.
type section struct {
	up, down      []schema.Statement
	transactional bool     // the up section; the way down may differ
	irreversible  string   // why there is no way down
	required      []string // backfills
}

// split puts statements that may be in one transaction together, in order. A statement that cannot
// be in a transaction, such as a concurrent index, gets a section of its own. Values of enums come
// apart from what may use them. VALIDATE CONSTRAINT reads a whole table: it comes apart from
// statements whose locks would keep others out meanwhile.
// A check that rows need a backfill for comes after what new rows get their values from.
func split(statements []schema.Statement, backfills bool) []*section {
	var (
		sections []*section
		last     kind

		unchecked bool
	)
	for _, s := range statements {
		if s.SQL == schema.UncheckedBodies {
			unchecked = true
			continue
		}
		k := kindOf(s)
		if backfills && s.Backfill.Table != "" {
			k = gated
		}
		if len(sections) == 0 || k != last || k == alone {
			sections = append(sections, &section{transactional: k != alone})
		}
		current := sections[len(sections)-1]
		if unchecked && s.HasBody() && !slices.ContainsFunc(current.up, schema.Statement.HasBody) {
			current.up = append(current.up, schema.Statement{SQL: schema.UncheckedBodies})
		}
		current.up = append(current.up, s)
		last = k
	}
	return sections
}

// kind says which statements may share a transaction.
type kind int

const (
	ordinary kind = iota
	alone
	validation
	enumValue
	gated
)

func kindOf(s schema.Statement) kind {
	switch {
	case !s.Transactional():
		return alone
	case s.AddsEnumValue():
		return enumValue
	case s.Validates():
		return validation
	}
	return ordinary
}
