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
	if d.gone(*c.From) {
		return nil
	}
	return []Statement{{SQL: commentOn.ReplaceAllString(c.From.SQL[0], "$1 IS NULL")}}
}

// gone reports whether the object that a comment or grant is about is missing in to. The archive
// says which object that is.
func (d *Difference) gone(o Object) bool {
	kind, name, _ := strings.Cut(o.Name, " ")
	for i := range d.to.Objects {
		on := &d.to.Objects[i]
		if !slices.Contains(o.uses, on.key()) {
			continue
		}
		if kind == "COLUMN" || kind == "CONSTRAINT" && on.Type == "TABLE" { // a part of the table's statement
			part, _, _ := strings.Cut(name, " ON ")
			parts := namePart.FindAllString(part, -1)
			return len(parts) > 0 && !names(on.SQL[0], parts[len(parts)-1])
		}
		return false
	}
	return true
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
	} else if c.From.Type == "ACL" && d.gone(*c.From) {
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
