package schema

import (
	"regexp"
	"slices"
	"strings"
)

var commentOn = regexp.MustCompile(`(?s)^(COMMENT ON .+?) IS .*$`)

// comment sets a comment, or takes it away unless it goes with its object.
func (d *Difference) comment(c Change) []Statement {
	if c.To != nil {
		return statements(c.To.SQL)
	}
	if d.gone(c.From.Name) {
		return nil
	}
	return []Statement{{SQL: commentOn.ReplaceAllString(c.From.SQL[0], "$1 IS NULL")}}
}

// gone reports whether an object goes on which a comment or grant is. name is the dump's, such as
// "TABLE pages", "COLUMN pages.title" or "FUNCTION f(integer)".
func (d *Difference) gone(name string) bool {
	kind, name, _ := strings.Cut(name, " ")
	full := name
	if before, _, ok := strings.Cut(name, "("); ok {
		name = before
	}
	if before, _, ok := strings.Cut(name, " ON "); ok { // TRIGGER tr ON pages
		name = before
	}
	table, column, isColumn := strings.Cut(name, ".")
	for _, c := range d.Objects {
		if c.To != nil {
			continue
		}
		if o := c.From; o.Name == full || o.Name == name || isColumn && o.Name == table && kind == "COLUMN" {
			return true
		}
	}
	if isColumn {
		name = column
	}
	return d.mentions(name, "DROP ")
}

var (
	grantTo    = regexp.MustCompile(`^(ALTER DEFAULT PRIVILEGES .*?)?GRANT (.+) TO (.+?)( WITH GRANT OPTION)?$`)
	revokeFrom = regexp.MustCompile(`^(ALTER DEFAULT PRIVILEGES .*?)?REVOKE (.+) FROM (.+?)$`)
)

// acl takes back what is granted too much and grants what is missing.
func (d *Difference) acl(c Change) []Statement {
	var from, to []string
	if c.From != nil {
		from = c.From.SQL
	}
	if c.To != nil {
		to = c.To.SQL
	} else if c.From.Type == "ACL" && d.gone(c.From.Name) {
		return nil
	}
	var list []Statement
	for _, sql := range from {
		if slices.Contains(to, sql) {
			continue
		}
		switch {
		case grantTo.MatchString(sql):
			sql = grantTo.ReplaceAllString(sql, "${1}REVOKE $2 FROM $3")
		case revokeFrom.MatchString(sql):
			sql = revokeFrom.ReplaceAllString(sql, "${1}GRANT $2 TO $3")
		default:
			continue
		}
		list = append(list, Statement{SQL: sql, Hazards: []Hazard{hazardGrant}})
	}
	for _, sql := range to {
		if !slices.Contains(from, sql) || len(list) > 0 { // a REVOKE ALL above may have taken what stays
			list = append(list, Statement{SQL: sql, Hazards: []Hazard{hazardGrant}})
		}
	}
	return list
}
