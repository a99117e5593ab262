package schema

import (
	"regexp"
	"slices"
	"strings"
)

var (
	grants        = regexp.MustCompile(`^(GRANT|REVOKE) `)
	aboutFunction = regexp.MustCompile(`^(?:DROP|CREATE(?: OR REPLACE)?) (?:FUNCTION|PROCEDURE) `)
	aboutView     = regexp.MustCompile(`^(?:DROP|CREATE(?: OR REPLACE)?) VIEW (` + qualified + `)`)
	aboutIndex    = regexp.MustCompile(`^(?:DROP INDEX|CREATE (?:UNIQUE )?INDEX)(?: CONCURRENTLY)? (` + qualified + `)`)
	aboutType     = regexp.MustCompile(`^(?:DROP|CREATE|ALTER) (?:TYPE|EXTENSION) `)
	aboutPolicy   = regexp.MustCompile(`^(?:DROP|CREATE|ALTER) POLICY `)
)

// mistaken reports whether a statement of pg-schema-diff's is one that the dump knows better:
//   - grants, of which it sees those on tables only;
//   - the index of an exclusion constraint, which is not to be had as an index;
//   - a partition that is attached or detached, which it drops with its rows and makes anew;
//   - functions, and views that come or go, which it does not order by what they use;
//   - enums and policies, whose labels and roles it does not quote.
func (d *Difference) mistaken(s Statement) bool {
	if grants.MatchString(s.SQL) || aboutType.MatchString(s.SQL) || aboutPolicy.MatchString(s.SQL) ||
		aboutFunction.MatchString(s.SQL) {
		return true
	}
	for _, c := range d.Objects {
		if name := c.Object().Name; c.Object().Type == "TABLE ATTACH" && d.reattached(name) && names(s.SQL, name) {
			return true
		}
	}
	if match := aboutView.FindStringSubmatch(s.SQL); match != nil {
		return d.comesOrGoes("VIEW", match[1])
	}
	if match := aboutIndex.FindStringSubmatch(s.SQL); match != nil {
		return d.changes(match[1], Object.excludes)
	}
	return false
}

// comesOrGoes reports whether the object is on one side only.
func (d *Difference) comesOrGoes(kind, name string) bool {
	return slices.ContainsFunc(d.Objects, func(c Change) bool {
		return (c.From == nil || c.To == nil) && c.Object().Type == kind && c.Object().Name == lastPart(name)
	})
}

// reattached reports whether a table that stays becomes a partition, or is none any more.
func (d *Difference) reattached(table string) bool {
	attached := false
	for _, c := range d.Objects {
		if o := c.Object(); o.Name == table {
			if o.Type == "TABLE" && (c.From == nil || c.To == nil) {
				return false
			}
			attached = attached || o.Type == "TABLE ATTACH"
		}
	}
	return attached
}

// changes reports whether an object of that name is among the changes.
func (d *Difference) changes(name string, is func(Object) bool) bool {
	name = lastPart(name)
	return slices.ContainsFunc(d.Objects, func(c Change) bool {
		o := c.Object()
		own, _, _ := strings.Cut(o.Name, "(")
		own = own[strings.LastIndexByte(own, ' ')+1:] // "tags tags_distinct"
		return own == name && is(o)
	})
}

// excludes: an exclusion constraint, which pg-schema-diff takes for an index.
func (o Object) excludes() bool {
	return o.Type == "CONSTRAINT" && strings.Contains(o.SQL[0], " EXCLUDE USING ")
}

var namePart = regexp.MustCompile(identifier)

// lastPart returns the name without its schema and quotes.
func lastPart(name string) string {
	parts := namePart.FindAllString(name, -1)
	if len(parts) == 0 {
		return name
	}
	return unquote(parts[len(parts)-1])
}
