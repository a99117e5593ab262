package schema

import (
	"regexp"
	"slices"
	"strings"
)

var commentOn = regexp.MustCompile(`(?s)^(COMMENT ON .+?) IS .*$`)

// comment sets a comment, or takes it away unless it goes with its object.
func (p *planner) comment(c Change) []Statement {
	if c.To != nil {
		return statements(c.To.SQL)
	}
	if p.isGone(*c.From) {
		return nil
	}
	return []Statement{{SQL: commentOn.ReplaceAllString(c.From.SQL[0], "$1 IS NULL")}}
}

// isGone reports whether the object that a comment or grant is about is missing in to. The archive
// says which object that is.
func (p *planner) isGone(o Object) bool {
	for _, key := range o.uses { // a grant on a column also depends on those on its table
		if p.gone.objects[key] && !strings.HasPrefix(key, "ACL\x00") {
			return true
		}
	}
	kind, name, _ := strings.Cut(o.Name, " ")
	for i := range p.to.dump.Objects {
		on := &p.to.dump.Objects[i]
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

// revoke takes back surplus grants.
func (p *planner) revoke(c Change) (list []Statement) {
	if c.From == nil || c.To == nil && c.From.Type == "ACL" && p.isGone(*c.From) {
		return nil
	}
	for _, sql := range c.From.SQL {
		if c.To != nil && slices.Contains(c.To.SQL, sql) {
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
	return list
}

// grant adds missing grants. After a REVOKE it adds all of them, because the REVOKE may have
// removed grants that should stay.
func (p *planner) grant(c Change) (list []Statement) {
	if c.To == nil {
		return nil
	}
	for _, sql := range c.To.SQL {
		if c.From == nil || !slices.Contains(c.From.SQL, sql) || len(p.revoke(c)) > 0 {
			list = append(list, Statement{SQL: sql, Hazards: []Hazard{hazardGrant}})
		}
	}
	return list
}

// names reports whether name is a word of sql.
func names(sql, name string) bool {
	for from := 0; ; {
		at := strings.Index(sql[from:], name)
		if at < 0 {
			return false
		}
		start, end := from+at, from+at+len(name)
		if (start == 0 || !inWord(sql[start-1])) && (end == len(sql) || !inWord(sql[end])) {
			return true
		}
		from = end
	}
}

func inWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
