package diff

import (
	"regexp"
	"strings"

	"github.com/page-builder/persistence/pgmigrate/dev/schema"
)

// section is what becomes one file.
type section struct {
	up, down      []schema.Statement
	transactional bool   // the up section; a way down of one statement may differ
	irreversible  string // why there is no way down
}

var (
	newRelation = regexp.MustCompile(`^CREATE (?:UNLOGGED )?(?:TABLE|MATERIALIZED VIEW) ` +
		`("(?:[^"]|"")+"\."(?:[^"]|"")+")`)
	indexOn = regexp.MustCompile(`^(CREATE (?:UNIQUE )?INDEX) CONCURRENTLY (.+? ON )(ONLY )?` +
		`((?:"(?:[^"]|"")+"|[^\s".(]+)\.(?:"(?:[^"]|"")+"|[^\s".(]+))( .*)$`)
	alterTable = regexp.MustCompile(`^ALTER TABLE (?:ONLY )?("(?:[^"]|"")+"\."(?:[^"]|"")+")`)
)

// split puts statements that may be in one transaction together, in order. A statement that cannot
// be in a transaction, such as a concurrent index, gets a section of its own; on a table that is
// new nothing has to be concurrent. Values of enums come apart from what may use them. VALIDATE
// CONSTRAINT reads a whole table: it comes apart from statements whose locks would keep others out
// meanwhile.
func split(statements []schema.Statement) []*section {
	fresh := map[string]bool{}
	for _, s := range statements {
		if match := newRelation.FindStringSubmatch(s.SQL); match != nil {
			fresh[match[1]] = true
		}
	}
	var (
		sections []*section
		last     kind
	)
	for _, s := range statements {
		s = inTransaction(s, fresh)
		k := kindOf(s, fresh)
		if len(sections) == 0 || k != last || k == alone {
			sections = append(sections, &section{transactional: k != alone})
		}
		current := sections[len(sections)-1]
		current.up = append(current.up, s)
		last = k
	}
	return sections
}

// kind says with which others a statement shares a transaction.
type kind int

const (
	ordinary kind = iota
	alone
	validation
	enumValue
)

func kindOf(s schema.Statement, fresh map[string]bool) kind {
	switch {
	case !s.Transactional():
		return alone
	case s.AddsEnumValue():
		return enumValue
	case s.Validates():
		if match := alterTable.FindStringSubmatch(s.SQL); match != nil && fresh[match[1]] {
			return ordinary
		}
		return validation
	}
	return ordinary
}

// inTransaction takes CONCURRENTLY out of an index on a table that is new, which nobody uses yet.
func inTransaction(s schema.Statement, fresh map[string]bool) schema.Statement {
	match := indexOn.FindStringSubmatch(s.SQL)
	if match == nil || !fresh[quotedName(match[4])] {
		return s
	}
	return schema.Statement{SQL: match[1] + " " + match[2] + match[3] + match[4] + match[5]}
}

var namePart = regexp.MustCompile(`"(?:[^"]|"")+"|[^\s".]+`)

// quotedName writes both parts of a name in quotes, as pg-schema-diff does in most places.
func quotedName(name string) string {
	parts := namePart.FindAllString(name, 2)
	for i, p := range parts {
		if !strings.HasPrefix(p, `"`) {
			parts[i] = `"` + p + `"`
		}
	}
	return strings.Join(parts, ".")
}
