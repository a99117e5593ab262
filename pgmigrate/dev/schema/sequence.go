package schema

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var addIdentity = regexp.MustCompile(`^(ALTER TABLE (?:ONLY )?(` + qualified + `) ALTER COLUMN (` + identifier +
	`)) ADD GENERATED (ALWAYS|BY DEFAULT) AS IDENTITY \(([^;]*)\)$`)

func isIdentity(o *Object) bool { return o.Type == "SEQUENCE" && addIdentity.MatchString(o.SQL[0]) }

// identityOf returns the entry of a column's identity.
func (t tableChange) identityOf(b *column) *Object {
	for i := range t.planner.to.dump.Objects {
		o := &t.planner.to.dump.Objects[i]
		if o.Type != "SEQUENCE" || !slices.Contains(t.planner.to.catalog.owners[o.oid],
			node{class: classRelation, oid: b.Relation, sub: b.Number}) {
			continue
		}
		if isIdentity(o) {
			return o
		}
	}
	return nil
}

var nextValue = regexp.MustCompile(`nextval\('((?:[^']|'')*)'::regclass\)`)

// makeDefault sets a default. A new sequence continues after the existing rows.
func (p *planner) makeDefault(o *Object) {
	p.add(statements(o.SQL)...)
	b := p.to.defaults[o.oid]
	if b == nil {
		return
	}
	table := p.to.byNode[node{class: classRelation, oid: b.Relation}]
	if table == nil || !p.survives(table) || nextValue.FindString(b.Default) == "" {
		return
	}
	for _, key := range o.uses {
		if x := p.to.byKey[key]; x != nil && x.Type == "SEQUENCE" && (p.from.byKey[key] == nil || p.gone.objects[key]) {
			p.advance(x, b)
		}
	}
}

// makeSequence makes a sequence or an identity.
func (p *planner) makeSequence(o *Object) {
	m := addIdentity.FindStringSubmatch(o.SQL[0])
	if m == nil {
		p.add(statements(o.SQL)...)
		return
	}
	for _, n := range p.to.catalog.owners[o.oid] {
		table := p.to.byNode[node{class: classRelation, oid: n.oid}]
		if table == nil || !p.survives(table) {
			continue
		}
		b := p.to.catalog.column(n.oid, n.sub)
		old := p.from.catalog.columnNamed(p.from.byKey[table.key()].oid, b.Name)
		if old != nil && !old.NotNull {
			p.flush()
		}
		p.add(statements(o.SQL)...)
		if old != nil {
			p.advance(o, b)
		}
		return
	}
	p.add(statements(o.SQL)...)
}

var (
	startWith = regexp.MustCompile(`START WITH (-?\d+)`)
	increment = regexp.MustCompile(`INCREMENT BY (-?\d+)`)
)

// advance lets a new sequence continue after the values of a column.
func (p *planner) advance(o *Object, b *column) {
	start, step := startWith.FindStringSubmatch(o.SQL[0]), increment.FindStringSubmatch(o.SQL[0])
	value := "greatest(coalesce(max(" + b.Name + "), 0) + 1, 1)"
	if start != nil {
		value = "greatest(coalesce(max(" + b.Name + ") + 1, " + start[1] + "), " + start[1] + ")"
	}
	if step != nil && strings.HasPrefix(step[1], "-") {
		value = "least(coalesce(min(" + b.Name + ") - 1, " + start[1] + "), " + start[1] + ")"
	}
	name := p.to.catalog.relations[o.oid].Name
	p.addSQL("SELECT pg_catalog.setval('"+strings.ReplaceAll(name, "'", "''")+"', "+value+", false) FROM "+
		p.to.catalog.relations[b.Relation].Name,
		Hazard{"EXISTING_ROWS", "The new sequence goes on behind the rows that are there. Rows written meanwhile " +
			"with a value of their own may come into its way."})
}

// alterSequence sets all options: an option that the text leaves out has its default.
func (p *planner) alterSequence(c Change) {
	if m := addIdentity.FindStringSubmatch(c.To.SQL[0]); m != nil {
		sql := m[1] + " SET GENERATED " + m[4]
		for _, line := range strings.Split(m[5], "\n") {
			line = strings.TrimSpace(line)
			if line != "" && !strings.HasPrefix(line, "SEQUENCE NAME ") {
				sql += " SET " + line
			}
		}
		if !strings.Contains(m[5], "CYCLE") {
			sql += " SET NO CYCLE"
		}
		p.addSQL(sql + restart(c, " RESTART"))
		return
	}
	m := createSequence.FindStringSubmatch(c.To.SQL[0])
	if m == nil {
		p.refuse(c, "no statement is known that changes it")
		return
	}
	options := strings.Join(strings.Fields(m[2]), " ")
	if !strings.HasPrefix(options, "AS ") {
		options = "AS bigint " + options
	}
	if !strings.Contains(options, "CYCLE") {
		options += " NO CYCLE"
	}
	p.addSQL("ALTER SEQUENCE " + m[1] + " " + options + restart(c, " RESTART"))
	_, aspects := changedAspects(*c.From, *c.To)
	p.add(aspects...)
}

// restart returns the option that a sequence needs if its new bounds exclude its start.
func restart(c Change, option string) string {
	from := startWith.FindStringSubmatch(c.From.SQL[0])
	if from == nil {
		return ""
	}
	start, _ := strconv.ParseInt(from[1], 10, 64)
	for _, bound := range sequenceBound.FindAllStringSubmatch(c.To.SQL[0], -1) {
		value, _ := strconv.ParseInt(bound[2], 10, 64)
		if bound[1] == "MIN" && start < value || bound[1] == "MAX" && start > value {
			return option
		}
	}
	return ""
}

var sequenceBound = regexp.MustCompile(`\b(MIN|MAX)VALUE (-?\d+)`)

var createSequence = regexp.MustCompile(`(?s)^CREATE (?:UNLOGGED )?SEQUENCE (` + qualified + `)(.*)$`)
