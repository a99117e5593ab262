package schema

import (
	"regexp"
	"slices"
	"strings"
)

// Plan is a difference as statements.
type Plan struct {
	// Statements turn the one side into the other, in this order, as far as it is known how.
	Statements []Statement

	// Unexpressed are the changes for which there is no statement here. A person has to write them.
	Unexpressed []Change
}

// Plan returns the statements to run. Try them on a copy: what pg-schema-diff drops and creates
// again, such as a column, loses its comment until the next comparison.
func (d *Difference) Plan() Plan {
	var (
		p                    Plan
		before, types, after []Statement
	)
	set := d.recreated()
	structure, drops, creates := d.recreate(set)
	for _, c := range d.Objects {
		if set[c.Object().key()] {
			continue
		}
		place, statements, ok := d.express(c)
		if !ok {
			p.Unexpressed = append(p.Unexpressed, c)
		}
		switch place {
		case beforeStructure:
			before = append(before, statements...)
		case withTypes:
			types = append(types, statements...)
		default:
			after = append(after, statements...)
		}
	}
	// Domains and composite types may be in a schema that is new, and tables that are new may use
	// them. An identity's sequence may have the name of a serial column's, in both directions.
	var first, leading, rest, last, identities []Statement
	for i, s := range structure {
		switch {
		case len(leading) == i && leads.MatchString(s.SQL):
			leading = append(leading, s)
		case dropsIdentity.MatchString(s.SQL):
			first = append(first, s)
		case addsIdentity.MatchString(s.SQL):
			identities = append(identities, s)
		case trails.MatchString(s.SQL):
			last = append(last, s)
		default:
			match := changesType.FindStringSubmatch(s.SQL)
			if match != nil && d.mentionsStart(match[1]+" SET DEFAULT ") {
				rest = append(rest, Statement{SQL: match[1] + " DROP DEFAULT"}) // it may have no cast
			}
			rest = append(rest, s)
		}
	}
	if slices.ContainsFunc(d.Objects, Change.hasBody) {
		drops = slices.Insert(drops, 0, Statement{SQL: "SET check_function_bodies = off"})
	}
	p.Statements = slices.Concat(drops, before, first, leading, types, rest, identities, creates, after, last)
	return p
}

const alterColumn = `ALTER TABLE ` + qualified + ` ALTER COLUMN ` + identifier

var (
	leads  = regexp.MustCompile(`^CREATE (SCHEMA|EXTENSION|TYPE)\b`)
	trails = regexp.MustCompile(`^DROP SCHEMA\b`) // what pg-schema-diff does not see may still be in it

	dropsIdentity = regexp.MustCompile(`^` + alterColumn + `\s+DROP IDENTITY$`)
	changesType   = regexp.MustCompile(`^(` + alterColumn + `) SET DATA TYPE `)
	addsIdentity  = regexp.MustCompile(`^` + alterColumn + `\s+ADD GENERATED `)
)

// place is where in a plan a statement goes.
type place int

const (
	afterStructure place = iota
	beforeStructure
	withTypes
)

// structural are the objects that pg-schema-diff creates, changes and drops. Enums are too, other
// types are not.
var structural = map[string]bool{
	"SCHEMA": true, "TABLE": true, "TABLE ATTACH": true, "SEQUENCE": true, "SEQUENCE OWNED BY": true,
	"DEFAULT": true, "CONSTRAINT": true, "CHECK CONSTRAINT": true, "FK CONSTRAINT": true,
	"INDEX": true, "INDEX ATTACH": true,
	"VIEW": true, "MATERIALIZED VIEW": true, "FUNCTION": true, "PROCEDURE": true, "TRIGGER": true,
	"ROW SECURITY": true,
}

func (o Object) structural() bool { return structural[o.Type] }

// express returns the statements for one change of the dump, and false if they are not all that is
// needed.
func (d *Difference) express(c Change) (place, []Statement, bool) {
	o := c.Object()
	switch {
	case o.Type == "COMMENT":
		return afterStructure, d.comment(c), true
	case o.Type == "ACL", o.Type == "DEFAULT ACL":
		return afterStructure, d.acl(c), true
	case o.excludes() || o.Type == "TABLE ATTACH" && (d.StructureError != nil || d.reattached(o.Name)):
		// as other objects
	case o.structural():
		return d.expressStructural(c)
	}
	switch {
	case c.From == nil:
		if leadsOthers[o.Type] {
			return withTypes, statements(o.SQL), true
		}
		return afterStructure, statements(o.SQL), true
	case c.To == nil:
		drop, ok := c.From.drop()
		if leadsOthers[o.Type] { // columns of the type go first
			return afterStructure, drop, ok
		}
		return beforeStructure, drop, ok
	}
	if same, list := changedAspects(*c.From, *c.To); same {
		return afterStructure, list, true
	}
	switch o.Type {
	case "DOMAIN":
		list, ok := alterDomain(c.From.SQL[0], c.To.SQL[0])
		return withTypes, list, ok
	case "TYPE":
		if list, ok := alterEnum(c.From.SQL[0], c.To.SQL[0]); ok {
			return withTypes, list, true
		}
		list, ok := alterComposite(c.From.SQL[0], c.To.SQL[0])
		return withTypes, list, ok
	}
	drop, ok := c.From.drop()
	if !ok || leadsOthers[o.Type] {
		return afterStructure, nil, false
	}
	list := slices.Concat(drop, statements(c.To.SQL))
	list[0].Hazards = append(list[0].Hazards, hazardRecreate)
	return afterStructure, list, true
}

// leadsOthers are objects that tables may be made of. What is not here, tables do not depend on.
var leadsOthers = map[string]bool{
	"EXTENSION": true, "DOMAIN": true, "TYPE": true, "SHELL TYPE": true, "COLLATION": true,
	"FOREIGN DATA WRAPPER": true, "SERVER": true,
	"TEXT SEARCH CONFIGURATION": true, "TEXT SEARCH DICTIONARY": true, "TEXT SEARCH PARSER": true,
	"TEXT SEARCH TEMPLATE": true,
}

// dropPartition drops a partition where pg-schema-diff gives up, because it is dropped or gets
// other bounds. The next comparison finds what is left.
func (d *Difference) dropPartition(c Change) ([]Statement, bool) {
	o := *c.From
	if d.StructureError == nil || o.Type != "TABLE" || d.parents[o.Name] == "" {
		return nil, false
	}
	match := createTable.FindStringSubmatch(o.SQL[0])
	if match == nil {
		return nil, false
	}
	return []Statement{
		{
			SQL:     "DROP TABLE " + match[3],
			Hazards: []Hazard{{deletesData, "Deletes all rows of the partition (and the partition itself)."}},
		},
	}, true
}

// expressStructural adds what pg-schema-diff does not see of an object that it does see. Where it
// has no statement for the object, the dump's do.
func (d *Difference) expressStructural(c Change) (place, []Statement, bool) {
	if c.To == nil {
		return d.expressGone(c)
	}
	if c.To.Type == "VIEW" && c.From == nil {
		return afterStructure, statements(c.To.SQL), true
	}
	var from Object
	if c.From != nil {
		from = *c.From
	}
	if c.To.Type == "FUNCTION" || c.To.Type == "PROCEDURE" {
		list := statements(c.To.SQL)
		if c.From == nil && !d.usesChanged(*c.To, Change.isNewRelation) {
			return withTypes, list, true
		}
		list[0].SQL = strings.Replace(list[0].SQL, "CREATE ", "CREATE OR REPLACE ", 1)
		return afterStructure, list, true
	}
	same, list := changedAspects(from, *c.To)
	switch {
	case same || d.covers(*c.To):
		return afterStructure, list, true
	case d.StructureError != nil:
		return afterStructure, list, false
	case c.From == nil:
		return afterStructure, statements(c.To.SQL), true
	case c.To.Type == "VIEW":
		replaced := statements(c.To.SQL)
		replaced[0].SQL = strings.Replace(replaced[0].SQL, "CREATE ", "CREATE OR REPLACE ", 1)
		return afterStructure, replaced, true
	default:
		return afterStructure, list, false
	}
}

func (d *Difference) expressGone(c Change) (place, []Statement, bool) {
	if drop, ok := d.dropPartition(c); ok {
		return beforeStructure, drop, true
	}
	if partOfRelation[c.From.Type] && d.usesChanged(*c.From, Change.isGone) {
		return afterStructure, nil, true
	}
	switch c.From.Type {
	case "VIEW":
		drop, ok := c.From.drop()
		return beforeStructure, drop, ok
	case "FUNCTION", "PROCEDURE":
		drop, ok := c.From.drop()
		if d.usesChanged(*c.From, Change.isGone) {
			return beforeStructure, drop, ok
		}
		return afterStructure, drop, ok // behind what uses it
	case "SEQUENCE": // it may have gone with its column
		drop, ok := c.From.drop()
		if ok && !d.covers(*c.From) {
			drop[0].SQL = strings.Replace(drop[0].SQL, "DROP SEQUENCE ", "DROP SEQUENCE IF EXISTS ", 1)
			return afterStructure, drop, true
		}
	case "SEQUENCE OWNED BY":
		if d.mentions(c.From.Name, "DROP SEQUENCE") || d.isGone("SEQUENCE", c.From.Schema, c.From.Name) {
			return afterStructure, nil, true
		}
	}
	if d.covers(*c.From) {
		return afterStructure, nil, true
	}
	drop, ok := c.From.drop()
	return beforeStructure, drop, ok && d.StructureError == nil
}

// partOfRelation are the kinds of objects that go with their table, index or materialized view.
var partOfRelation = map[string]bool{
	"INDEX": true, "INDEX ATTACH": true, "TABLE ATTACH": true, "CONSTRAINT": true, "CHECK CONSTRAINT": true,
	"TRIGGER": true, "DEFAULT": true, "RULE": true,
}

func (c Change) isNewRelation() bool {
	return c.From == nil && c.To.Type != "TYPE" && c.To.Type != "DOMAIN"
}

// hasBody reports whether the server checks the body of a new function. It may come before what the
// body names, because no catalog records that.
func (c Change) hasBody() bool {
	return c.From == nil && c.To.Type == "FUNCTION" && strings.Contains(c.To.SQL[0], "\n    LANGUAGE sql")
}

func (c Change) isGone() bool { return c.To == nil }

// usesChanged reports whether the object depends on a relation or type of which changed is true.
func (d *Difference) usesChanged(o Object, changed func(Change) bool) bool {
	return slices.ContainsFunc(d.Objects, func(c Change) bool {
		switch c.Object().Type {
		case "TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "INDEX", "TYPE", "DOMAIN":
			return changed(c) && slices.Contains(o.uses, c.Object().key())
		}
		return false
	})
}

func (d *Difference) isGone(kind, schema, name string) bool {
	return slices.ContainsFunc(d.Objects, func(c Change) bool {
		return c.To == nil && c.From.Type == kind && c.From.Schema == schema && c.From.Name == name
	})
}

// covers reports whether one of pg-schema-diff's statements is about the object, or about the table
// or partitioned table that takes it along.
func (d *Difference) covers(o Object) bool {
	name, _, _ := strings.Cut(o.Name, "(") // f(integer)
	names := strings.Fields(name)          // "pages pages_pkey": table and constraint
	for _, sql := range o.SQL {
		for _, match := range relation.FindAllStringSubmatch(sql, -1) {
			names = append(names, lastPart(match[1]))
		}
	}
	for _, name := range names {
		for ; name != ""; name = d.parents[name] {
			if d.mentions(name, "") {
				return true
			}
		}
	}
	return false
}

var relation = regexp.MustCompile(`(?:^ALTER TABLE(?: ONLY)?|^ALTER SEQUENCE|^ALTER INDEX|^CREATE (?:UNIQUE )?INDEX ` +
	identifier + ` ON(?: ONLY)?) (` + qualified + `)`)

var attaches = regexp.MustCompile(`^ALTER (?:TABLE|INDEX)(?: ONLY)? (` + qualified +
	`) ATTACH PARTITION (` + qualified + `)`)

// parents are what partitions, and their indexes, are attached to.
func parents(dumps ...*Dump) map[string]string {
	found := map[string]string{}
	for _, d := range dumps {
		for _, o := range d.Objects {
			if match := attaches.FindStringSubmatch(o.SQL[0]); match != nil &&
				lastPart(match[1]) != lastPart(match[2]) {
				found[lastPart(match[2])] = lastPart(match[1])
			}
		}
	}
	return found
}

// mentions reports whether a statement of pg-schema-diff's has both words in it.
func (d *Difference) mentions(name, verb string) bool {
	return slices.ContainsFunc(d.Structure, func(s Statement) bool {
		return strings.Contains(s.SQL, verb) && names(s.SQL, name)
	})
}

func (d *Difference) mentionsStart(start string) bool {
	return slices.ContainsFunc(d.Structure, func(s Statement) bool { return strings.HasPrefix(s.SQL, start) })
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

func statements(sql []string) []Statement {
	list := make([]Statement, len(sql))
	for i := range sql {
		list[i].SQL = sql[i]
	}
	return list
}
