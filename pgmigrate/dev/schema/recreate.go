package schema

import (
	"regexp"
	"slices"
	"strings"
)

// recreatable are the kinds of objects that can be dropped and created again without losing data.
var recreatable = map[string]bool{
	"VIEW": true, "MATERIALIZED VIEW": true, "FUNCTION": true, "PROCEDURE": true, "TRIGGER": true,
	"POLICY": true, "RULE": true, "INDEX": true, "ACL": true, "COMMENT": true,
}

// recreated returns the keys of the objects that CREATE OR REPLACE cannot change, and of all that
// depends on them. If a table or a type depends on one, it is left out.
func (d *Difference) recreated() map[string]bool {
	set := map[string]bool{}
	if d.from == nil {
		return set
	}
	for _, c := range d.Objects {
		if c.From == nil || c.To == nil || !irreplaceable(*c.From, *c.To) {
			continue
		}
		closure := map[string]bool{c.From.key(): true}
		whole := true
		for _, dump := range []*Dump{d.from, d.to} { // objects come after what they depend on
			for _, o := range dump.Objects {
				if slices.ContainsFunc(o.uses, func(k string) bool { return closure[k] }) {
					closure[o.key()] = true
					whole = whole && recreatable[o.Type]
				}
			}
		}
		for key := range closure {
			if whole {
				set[key] = true
			}
		}
	}
	return set
}

var functionHead = regexp.MustCompile(`(?s)^.*?\n    LANGUAGE `)

// irreplaceable reports whether an object has to be dropped before it is created in its new form.
func irreplaceable(from, to Object) bool {
	switch to.Type {
	case "MATERIALIZED VIEW":
		same, _ := changedAspects(from, to)
		return !same
	case "FUNCTION", "PROCEDURE":
		return functionHead.FindString(from.SQL[0]) != functionHead.FindString(to.SQL[0])
	default:
		return false
	}
}

var dropsOrCreates = regexp.MustCompile(`^(?:DROP|CREATE(?: OR REPLACE)?) (?:MATERIALIZED VIEW|VIEW|FUNCTION|` +
	`PROCEDURE|TRIGGER|POLICY|(?:UNIQUE )?INDEX(?: CONCURRENTLY)?) (` + qualified + `)`)

// recreate returns the statements that drop the objects of the set, and those that create them
// again. It takes pg-schema-diff's statements about them out of the structure.
func (d *Difference) recreate(set map[string]bool) (structure, drops, creates []Statement) {
	if len(set) == 0 {
		return d.Structure, nil, nil
	}
	named := map[string]bool{}
	for i := len(d.from.Objects) - 1; i >= 0; i-- {
		o := d.from.Objects[i]
		if !set[o.key()] {
			continue
		}
		name, _, _ := strings.Cut(o.Name, "(")
		named[unquote(name[strings.LastIndexByte(name, ' ')+1:])] = true
		if drop, ok := o.drop(); ok {
			drop[0].Hazards = append(drop[0].Hazards, hazardRecreate)
			drops = append(drops, drop...)
		}
	}
	for _, o := range d.to.Objects {
		if set[o.key()] {
			creates = append(creates, statements(o.SQL)...)
		}
	}
	structure = slices.DeleteFunc(slices.Clone(d.Structure), func(s Statement) bool {
		match := dropsOrCreates.FindStringSubmatch(s.SQL)
		return match != nil && named[lastPart(match[1])]
	})
	return structure, drops, creates
}
