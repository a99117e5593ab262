package schema

import (
	"slices"
	"strings"
)

// Plan holds the statements for a difference.
type Plan struct {
	// Statements turn one side into the other, in this order, as far as possible.
	Statements []Statement

	// Unexpressed holds the changes without a statement. A person has to write them.
	Unexpressed []Change
}

// planner walks the old schema backward for objects to drop, and the new one forward for objects to
// create.
type planner struct {
	from, to *model
	changes  []Change
	changed  map[string]Change
	renamed  map[string]bool // keys of both sides, which need no more than their new name
	gone     closure

	dropped      map[string]bool // keys of from
	made         map[string]bool // keys of to
	force        map[string]bool // checks that have to be added at their own place
	checkRenamed map[uint32]bool // checks of to that got their name by a rename
	main         []Statement
	indexes      []Statement // that nothing else needs
	validations  []Statement
	finishes     []Statement // that need validated constraints
	attaches     []Statement // of partitions, which get their indexes first
	refreshes    []Statement
	relaxes      []Statement // of NOT NULL, when no key needs it any more
	unexpressed  []Change
}

// Plan returns the statements to run. First it drops objects that are gone or have to be created
// again, in the reverse of the old order. Then it creates and changes objects in the new order.
// Last it drops objects that were in use until then.
func (d *Difference) Plan() Plan {
	if len(d.Objects) == 0 {
		return Plan{Statements: d.invalid}
	}
	p := &planner{
		from: newModel(d.from), to: newModel(d.to), changes: d.Objects, changed: map[string]Change{},
		renamed: map[string]bool{}, gone: newClosure(), dropped: map[string]bool{}, made: map[string]bool{},
		force: map[string]bool{}, checkRenamed: map[uint32]bool{},
	}
	p.findRenames()
	for _, c := range p.changes {
		p.changed[c.Object().key()] = c
	}
	p.seed()
	late := p.drop()
	p.create()
	p.flush()
	p.main = slices.Concat(p.main, p.relaxes, late, p.refreshes)
	if slices.ContainsFunc(p.changes, Change.hasBody) {
		p.main = slices.Insert(p.main, 0, Statement{SQL: UncheckedBodies})
	}
	return Plan{Statements: slices.Concat(d.invalid, p.main), Unexpressed: p.unexpressed}
}

func (p *planner) add(list ...Statement) { p.main = append(p.main, list...) }

func (p *planner) addSQL(sql string, hazards ...Hazard) {
	p.add(Statement{SQL: sql, Hazards: hazards})
}

// addAspects adds statements that set properties. An index that identifies rows needs its columns
// to be NOT NULL first.
func (p *planner) addAspects(list []Statement) {
	for _, s := range list {
		if identityIndex.MatchString(s.SQL) {
			p.flush()
		}
		p.add(s)
	}
}

func (p *planner) refuse(c Change, reason string) {
	c.Reason = reason
	p.unexpressed = append(p.unexpressed, c)
}

// flush adds the statements that wait for the end of the migration.
func (p *planner) flush() {
	p.add(p.indexes...)
	p.add(p.validations...)
	p.add(p.finishes...)
	p.add(p.attaches...) // a partition has none of its parent's temporary checks
	p.attaches, p.indexes, p.validations, p.finishes = nil, nil, nil, nil
}

// hasBody reports whether the server checks the body of a function. A function may come before the
// objects in its body, because no catalog records that dependency.
func (c Change) hasBody() bool {
	return c.To != nil && (c.To.Type == "FUNCTION" || c.To.Type == "PROCEDURE") &&
		strings.Contains(c.To.SQL[0], "\n    LANGUAGE sql")
}

// stamp marks the statements added since then as the object's.
func (p *planner) stamp(o *Object) {
	for _, list := range [][]Statement{
		p.main, p.indexes, p.validations, p.finishes, p.attaches, p.relaxes, p.refreshes,
	} {
		for i := len(list) - 1; i >= 0 && list[i].object == nil; i-- {
			list[i].object = o
		}
	}
}

func statements(sql []string) []Statement {
	list := make([]Statement, len(sql))
	for i := range sql {
		list[i].SQL = sql[i]
	}
	return list
}
