package schema

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// touches reports whether a table that did not change itself has parts that were unset or have to
// take another type.
func (p *planner) touches(o *Object) bool {
	to := p.to.byKey[o.key()]
	for _, a := range p.from.catalog.columns[o.oid] {
		self := node{class: classRelation, oid: o.oid, sub: a.Number}
		b := p.to.catalog.columnNamed(to.oid, a.Name)
		if p.gone.columns[self] || p.gone.retyped[self] || p.gone.defaults[self] || b != nil && a.Default != b.Default {
			return true
		}
	}
	from := p.from.catalog.checksOf(o.oid)
	return len(from) != len(p.to.catalog.checksOf(to.oid)) || slices.ContainsFunc(from, func(k *constraint) bool {
		other := p.to.catalog.checkNamed(to.oid, k.Name)
		return p.gone.checks[k.OID] || other == nil || other.Definition != k.Definition
	})
}

// tableChange is one table on its way.
type tableChange struct {
	*planner
	from, to *Object
	old, new *relation
	alter    string // ALTER TABLE and its name
}

// alterTable changes a table at its place in the new order: the functions and types that its parts
// need are there by then.
func (p *planner) alterTable(from, to *Object) {
	t := tableChange{
		planner: p, from: from, to: to, old: p.from.catalog.relations[from.oid], new: p.to.catalog.relations[to.oid],
	}
	t.alter = "ALTER TABLE " + t.new.Name + " "
	t.leaveParents()
	t.dropChecks()
	t.dropColumns()
	for _, b := range p.to.catalog.columns[t.new.OID] {
		t.column(b)
	}
	for _, k := range p.to.catalog.checksOf(t.new.OID) {
		t.addCheck(k)
	}
	t.joinParents()
	_, list := changedAspects(*from, *to)
	p.add(list...)
	for _, b := range p.to.catalog.columns[t.new.OID] {
		a := p.from.catalog.columnNamed(t.old.OID, b.Name)
		if a != nil && a.Type == b.Type && a.Storage != b.Storage && b.Storage == b.TypeStorage {
			p.addSQL("ALTER TABLE ONLY " + t.new.Name + " ALTER COLUMN " + b.Name + " SET STORAGE " + storages[b.Storage])
		}
	}
}

// storages are PostgreSQL's words for pg_attribute.attstorage.
var storages = map[string]string{"p": "PLAIN", "e": "EXTERNAL", "m": "MAIN", "x": "EXTENDED"}

func (t tableChange) parentNames(m *model, r *relation) (names []string) {
	if r.Partition {
		return nil
	}
	for _, oid := range r.Parents {
		if x := m.catalog.relations[oid]; x != nil {
			names = append(names, x.Name)
		}
	}
	return names
}

func (t tableChange) leaveParents() {
	stay := t.parentNames(t.planner.to, t.new)
	for _, name := range t.parentNames(t.planner.from, t.old) {
		if !slices.Contains(stay, name) {
			t.addSQL(t.alter + "NO INHERIT " + name)
		}
	}
}

func (t tableChange) joinParents() {
	had := t.parentNames(t.planner.from, t.old)
	for _, name := range t.parentNames(t.planner.to, t.new) {
		if !slices.Contains(had, name) {
			t.finishes = append(t.finishes, Statement{SQL: t.alter + "INHERIT " + name}) // its checks are valid by then
		}
	}
}

// inherits reports whether a column of the table comes from its parents on both sides, whose own
// statement changes it here too.
func inherits(a, b *column) bool { return a.Inherited > 0 && b.Inherited > 0 }

func (t tableChange) dropColumns() {
	for _, a := range t.planner.from.catalog.columns[t.old.OID] {
		self := node{class: classRelation, oid: t.old.OID, sub: a.Number}
		if !t.gone.columns[self] || a.Inherited > 0 && t.isChild() {
			continue
		}
		t.addSQL(t.alter+"DROP COLUMN "+a.Name, Hazard{deletesData, "Deletes all values in the column"})
	}
}

// isChild reports whether the table stays the child of a parent.
func (t tableChange) isChild() bool { return len(t.old.Parents) > 0 && len(t.new.Parents) > 0 }

// column adds or changes one column.
func (t tableChange) column(b *column) {
	a := t.planner.from.catalog.columnNamed(t.old.OID, b.Name)
	if a == nil || t.gone.columns[node{class: classRelation, oid: t.old.OID, sub: a.Number}] {
		if b.Inherited > 0 && t.isChild() {
			return
		}
		t.addColumn(b)
		return
	}
	if a.Generated != "" && b.Generated == "" {
		t.addSQL(t.alter + "ALTER COLUMN " + b.Name + " DROP EXPRESSION")
		plain := *a
		plain.Generated, plain.Default, plain.DefaultOID = "", "", 0
		a = &plain
	}
	t.changeType(a, b)
	t.changeDefault(a, b)
	t.changeNotNull(a, b)
}

// entryOf returns the entry of a column's default that pg_dump writes apart from its table.
func (m *model) entryOf(a *column) *Object {
	if a.DefaultOID == 0 {
		return nil
	}
	return m.byNode[node{class: classDefault, oid: a.DefaultOID}]
}

func (t tableChange) addColumn(b *column) {
	sql := t.alter + "ADD COLUMN " + b.Name + " " + b.Type
	if b.Collation != "" {
		sql += " COLLATE " + b.Collation
	}
	var hazards []Hazard
	switch {
	case b.Generated == "s":
		sql += " GENERATED ALWAYS AS (" + b.Default + ") STORED"
		hazards = append(hazards, hazardRewrite)
	case b.Generated != "":
		sql += " GENERATED ALWAYS AS (" + b.Default + ") VIRTUAL"
	case b.Identity != "":
		if o := t.identityOf(b); o != nil {
			m := addIdentity.FindStringSubmatch(o.SQL[0])
			t.made[o.key()] = true
			sql += " NOT NULL GENERATED " + m[4] + " AS IDENTITY (" + strings.Join(strings.Fields(m[5]), " ") + ")"
			t.addSQL(sql, hazardRewrite)
			t.add(statements(o.SQL[1:])...)
			return
		}
	case b.Default != "":
		if o := t.planner.to.entryOf(b); o != nil {
			t.made[o.key()] = true
			t.pull(o)
		}
		sql += " DEFAULT " + b.Default
		if volatile.MatchString(b.Default) {
			hazards = append(hazards, hazardRewrite)
		}
	}
	fills := b.Default != "" && b.Default != "NULL::"+b.Type
	if b.NotNull && fills {
		sql += " NOT NULL"
	}
	t.addSQL(sql, hazards...)
	if b.NotNull && !fills {
		t.requireValues(b)
	}
}

var volatile = regexp.MustCompile(`\b(nextval|gen_random_uuid|uuid_generate_v\w+|random|clock_timestamp)\(`)

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

func (t tableChange) changeType(a, b *column) {
	self := node{class: classRelation, oid: t.old.OID, sub: a.Number}
	replaced := t.gone.retyped[self] && a.Type == b.Type && a.Collation == b.Collation
	if !t.gone.retyped[self] || inherits(a, b) && t.isChild() {
		return
	}
	alter := t.alter + "ALTER COLUMN " + b.Name
	using, safe := t.using(a, b, replaced)
	if a.Default != "" && a.Generated == "" && !t.gone.defaults[self] && (a.Default != b.Default || using != "") {
		t.addSQL(alter + " DROP DEFAULT")
		t.gone.defaults[self] = true
	}
	sql := alter + " TYPE " + b.Type
	if b.Collation != "" {
		sql += " COLLATE " + b.Collation
	}
	if using != "" {
		sql += " USING " + using
	}
	var hazards []Hazard
	if !keepsTable(a, b) {
		hazards = append(hazards, hazardRewrite)
	}
	if !safe {
		hazards = append(hazards, hazardNarrows)
	}
	t.addSQL(sql, hazards...)
}

// changeDefault runs after the type has changed. A default that pg_dump writes apart comes at its
// own place.
func (t tableChange) changeDefault(a, b *column) {
	self := node{class: classRelation, oid: t.old.OID, sub: a.Number}
	if b.Generated != "" || b.Identity != "" && b.Default == "" && a.Default == "" {
		return
	}
	entry := t.planner.to.entryOf(b)
	unset := t.gone.defaults[self]
	switch {
	case a.Default == b.Default && !unset:
	case b.Default == "":
		if !unset {
			t.addSQL("ALTER TABLE " + t.only(t.from) + " ALTER COLUMN " + b.Name + " DROP DEFAULT")
		}
	case entry != nil:
		t.made[entry.key()] = true
		t.pull(entry)
		t.makeDefault(entry)
	default:
		t.addSQL("ALTER TABLE " + t.only(t.from) + " ALTER COLUMN " + b.Name + " SET DEFAULT " + b.Default)
	}
}

func (t tableChange) changeNotNull(a, b *column) {
	if a.NotNull == b.NotNull || inherits(a, b) && t.isChild() && t.parentChangesNotNull(b) {
		return
	}
	if !b.NotNull {
		if a.Identity == "" || b.Identity == "" {
			t.relaxes = append(t.relaxes, Statement{SQL: t.alter + "ALTER COLUMN " + b.Name + " DROP NOT NULL"})
		}
		return
	}
	t.requireValues(b)
}

func (t tableChange) parentChangesNotNull(b *column) bool {
	for _, oid := range t.old.Parents {
		parent := t.planner.from.catalog.relations[oid]
		if parent == nil {
			continue
		}
		for _, r := range t.planner.to.catalog.relations {
			if r.Name != parent.Name {
				continue
			}
			x, y := t.planner.from.catalog.columnNamed(oid, b.Name), t.planner.to.catalog.columnNamed(r.OID, b.Name)
			if x != nil && y != nil && x.NotNull != y.NotNull {
				return true
			}
		}
	}
	return false
}

// requireValues makes a column NOT NULL without a long lock: the check is made for new rows first,
// then the table is read while others write, and SET NOT NULL believes the check.
func (t tableChange) requireValues(b *column) {
	// PostgreSQL 18 gives the constraint that SET NOT NULL makes a name that ends in _not_null.
	ending := "_has_value"
	if len(unquote(b.Name)) > maxName-len(ending) { // two long names may begin alike
		ending = fmt.Sprintf("_%d%s", b.Number, ending)
	}
	name := shortName(unquote(b.Name), ending)
	for _, k := range t.planner.from.catalog.checksOf(t.old.OID) {
		if k.Valid && k.Definition == "CHECK (("+b.Name+" IS NOT NULL))" && !t.gone.checks[k.OID] &&
			t.stayingCheck(k) {
			t.finishes = append(t.finishes, Statement{SQL: t.alter + "ALTER COLUMN " + b.Name + " SET NOT NULL"})
			return
		}
	}
	t.addSQL(t.alter+"ADD CONSTRAINT "+name+" CHECK ("+b.Name+" IS NOT NULL) NOT VALID", Hazard{
		"EXISTING_ROWS", fmt.Sprintf("Rows without a value in %s stop the VALIDATE that follows. Give them one first: "+
			"UPDATE %s SET %s = … WHERE %s IS NULL", b.Name, t.new.Name, b.Name, b.Name),
	})
	t.validations = append(t.validations, Statement{
		SQL: t.alter + "VALIDATE CONSTRAINT " + name,
		Check: t.rowsCheck(t.new.OID, fmt.Sprintf("rows of %s have no value in %s", t.new.Name, b.Name), t.new.Name,
			"r."+b.Name+" IS NULL"),
	})
	t.finishes = append(t.finishes,
		Statement{SQL: t.alter + "ALTER COLUMN " + b.Name + " SET NOT NULL"},
		Statement{SQL: t.alter + "DROP CONSTRAINT " + name})
}

func (t tableChange) stayingCheck(k *constraint) bool {
	return slices.ContainsFunc(t.planner.to.catalog.checksOf(t.new.OID), func(x *constraint) bool {
		return x.Name == k.Name && x.Definition == k.Definition
	})
}

// checkNamed returns a table's check.
func (c *catalog) checkNamed(table uint32, name string) *constraint {
	for _, k := range c.checksOf(table) {
		if k.Name == name {
			return k
		}
	}
	return nil
}

// sameCheck compares without the word that says whether rows were read.
func sameCheck(a, b *constraint) bool {
	return strings.TrimSuffix(a.Definition, " NOT VALID") == strings.TrimSuffix(b.Definition, " NOT VALID")
}

func (t tableChange) dropChecks() {
	for _, k := range t.planner.from.catalog.checksOf(t.old.OID) {
		other := t.planner.to.catalog.checkNamed(t.new.OID, k.Name)
		if k.Inherited > 0 && t.isChild() || t.gone.checks[k.OID] || other != nil && sameCheck(k, other) && (other.Valid || !k.Valid) {
			continue
		}
		if other == nil {
			if renamed := t.renamedCheck(k); renamed != nil {
				t.addSQL(t.alter + "RENAME CONSTRAINT " + k.Name + " TO " + renamed.Name)
				continue
			}
		}
		t.addSQL(t.alter + "DROP CONSTRAINT " + k.Name)
		t.gone.checks[k.OID] = true
	}
}

// renamedCheck returns the new check that has the definition of one that is gone.
func (t tableChange) renamedCheck(k *constraint) *constraint {
	for _, x := range t.planner.to.catalog.checksOf(t.new.OID) {
		isNew := t.planner.from.catalog.checkNamed(t.old.OID, x.Name) == nil && !t.checkRenamed[x.OID]
		if isNew && x.Definition == k.Definition && x.Local {
			t.checkRenamed[x.OID] = true
			return x
		}
	}
	return nil
}

func (t tableChange) addCheck(k *constraint) {
	if k.Inherited > 0 && t.isChild() || t.checkRenamed[k.OID] {
		return
	}
	old := t.planner.from.catalog.checkNamed(t.old.OID, k.Name)
	switch {
	case old == nil || t.gone.checks[old.OID]:
	case !old.Valid && k.Valid:
		t.validations = append(t.validations,
			Statement{SQL: t.alter + "VALIDATE CONSTRAINT " + k.Name, Check: t.ruleCheck(k)})
		return
	default:
		return
	}
	if o := t.planner.to.byNode[node{class: classConstraint, oid: k.OID}]; o != nil {
		t.force[o.key()] = true // at its own place, because something that it needs comes later
		return
	}
	t.check(t.alter, k)
}

// check adds a check to a table that is in use.
func (p *planner) check(alter string, k *constraint) {
	sql := alter + "ADD CONSTRAINT " + k.Name + " " + strings.TrimSuffix(k.Definition, " NOT VALID") + " NOT VALID"
	if !k.Valid {
		p.addSQL(sql)
		return
	}
	p.addSQL(sql, Hazard{"EXISTING_ROWS", "Rows that the check does not allow stop the VALIDATE that follows."})
	p.validations = append(p.validations,
		Statement{SQL: alter + "VALIDATE CONSTRAINT " + k.Name, Check: p.ruleCheck(k)})
}

// makeCheck adds a check that pg_dump writes apart from its table.
func (p *planner) makeCheck(o *Object) {
	k := p.to.catalog.constraints[o.oid]
	owner := p.to.ownerOf(o)
	if k == nil || owner == nil {
		p.add(statements(o.SQL)...)
		return
	}
	if p.from.byKey[owner.key()] != nil && !p.force[o.key()] && !p.checkGone(p.from.byKey[o.key()]) {
		return
	}
	p.check("ALTER TABLE "+p.to.catalog.relations[k.Table].Name+" ", k)
}

// checkGone reports whether a check was dropped and is not there again yet.
func (p *planner) checkGone(old *Object) bool { return old != nil && p.gone.checks[old.oid] }

// defaultGone reports whether the default was unset and not set again yet.
func (p *planner) defaultGone(o *Object) bool {
	a := p.from.defaults[o.oid]
	return a != nil && p.gone.defaults[node{class: classRelation, oid: a.Relation, sub: a.Number}]
}

var nextValue = regexp.MustCompile(`nextval\('((?:[^']|'')*)'::regclass\)`)

// makeDefault sets a default. A sequence that is new goes on behind the rows that are there.
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

// advance lets a new sequence go on behind the values that a column has.
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

// alterSequence sets all options: what a text leaves out has its default.
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

// restart returns the option that a sequence needs whose new bounds leave out where it began.
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

// makeIndex builds an index. On a table in use it is built without a lock, and an old form of it
// stays until then.
func (p *planner) makeIndex(o, old *Object, stays bool) {
	list := statements(o.SQL)
	r := p.to.catalog.relations[o.oid]
	if !stays || r == nil || r.Kind != "i" {
		p.add(list...)
		return
	}
	list[0].SQL = strings.Replace(list[0].SQL, "INDEX ", "INDEX CONCURRENTLY ", 1)
	if strings.HasPrefix(list[0].SQL, "CREATE UNIQUE ") {
		list[0].Hazards = []Hazard{hazardUnique}
	}
	if old == nil || !p.gone.swapped[old.key()] {
		if strings.HasPrefix(list[0].SQL, "CREATE INDEX ") && !r.Partition && len(list) == 1 {
			p.indexes = append(p.indexes, list...)
			return
		}
		p.add(list[0])
		p.addAspects(list[1:])
		return
	}
	name := shortName(unquote(lastQuoted(r.Name)), "_old")
	p.addSQL("ALTER INDEX " + r.Name + " RENAME TO " + name)
	p.add(list[0])
	p.addAspects(list[1:])
	p.addSQL("DROP INDEX CONCURRENTLY " + quoteIfNeeded(o.Schema) + "." + name)
}

// makeKey adds a primary key, a unique or an exclusion constraint. On a table in use its index is
// built first, without a lock, and takes the place of the old one in one transaction.
func (p *planner) makeKey(o, old *Object, stays bool) {
	k := p.to.catalog.constraints[o.oid]
	r := p.to.catalog.relations[k.Table]
	list := statements(o.SQL)
	var drops []Statement
	if k.Kind == "p" || old != nil {
		for _, x := range p.from.dump.Objects {
			f := p.from.catalog.constraints[x.oid]
			if x.Type != "CONSTRAINT" || !p.gone.swapped[x.key()] || f == nil ||
				p.from.catalog.relations[f.Table].Name != r.Name {
				continue
			}
			if x.key() == o.key() || k.Kind == "p" && f.Kind == "p" {
				drops = append(drops, p.dropOf(&x)...)
				drops[len(drops)-1].Hazards = nil
				delete(p.gone.swapped, x.key())
			}
		}
	}
	if stays && k.Kind == "p" {
		p.requireKeyed(k)
	}
	if !stays || k.Kind == "x" || k.OnPartitioned || k.IndexDefinition == "" ||
		strings.Contains(k.Definition, "WITHOUT OVERLAPS") {
		p.add(drops...)
		if stays {
			list[0].Hazards = append(list[0].Hazards, Hazard{
				"INDEX_BUILD", "Builds an index while the table is locked, and fails if rows violate it.",
			})
		}
		p.add(list...)
		return
	}
	name := k.Name
	if len(drops) > 0 && old != nil {
		name = shortName(unquote(k.Name), "_new")
	}
	index := p.to.catalog.relations[k.Index]
	definition := strings.Replace(k.IndexDefinition, " INDEX "+lastQuoted(index.Name)+" ON ",
		" INDEX CONCURRENTLY "+name+" ON ", 1)
	p.add(Statement{SQL: definition, Hazards: []Hazard{hazardUnique}, Check: p.uniqueCheck(k)})
	p.add(drops...)
	kind := "UNIQUE"
	if k.Kind == "p" {
		kind = "PRIMARY KEY"
	}
	sql := "ALTER TABLE " + r.Name + " ADD CONSTRAINT " + k.Name + " " + kind + " USING INDEX " + name
	if at := strings.Index(k.Definition, ") DEFERRABLE"); at >= 0 {
		sql += k.Definition[at+1:]
	}
	p.addSQL(sql)
	p.addAspects(list[1:])
}

// requireKeyed makes the columns of a primary key NOT NULL, so that it does not read them once
// more.
func (p *planner) requireKeyed(k *constraint) {
	table := p.from.byKey[p.to.byNode[node{class: classRelation, oid: k.Table}].key()]
	for _, number := range k.Columns {
		a := p.from.catalog.columnNamed(table.oid, p.to.catalog.column(k.Table, int32(number)).Name)
		if a == nil || !a.NotNull {
			p.flush()
			return
		}
	}
}

// makeForeignKey adds a foreign key. On a table in use the rows that are there are read afterwards.
func (p *planner) makeForeignKey(o *Object, stays bool) {
	list := statements(o.SQL)
	k := p.to.catalog.constraints[o.oid]
	if !stays || k == nil || k.OnPartitioned || !k.Valid {
		p.add(list...)
		return
	}
	list[0].SQL += " NOT VALID"
	list[0].Hazards = append(list[0].Hazards,
		Hazard{"EXISTING_ROWS", "Rows that refer to nothing stop the VALIDATE that follows."})
	p.add(list...)
	p.validations = append(p.validations, Statement{
		SQL:   "ALTER TABLE " + p.to.catalog.relations[k.Table].Name + " VALIDATE CONSTRAINT " + k.Name,
		Check: p.referenceCheck(k),
	})
}

// restoreChecks adds the checks of a domain that had to go.
func (p *planner) restoreChecks(from, to *Object) {
	for _, k := range p.from.catalog.constraints {
		if k.Domain != from.oid || !p.gone.checks[k.OID] {
			continue
		}
		for _, x := range p.to.catalog.constraints {
			if x.Domain == to.oid && x.Name == k.Name && x.Kind == "c" {
				p.addSQL("ALTER DOMAIN " + to.qualified() + " ADD CONSTRAINT " + x.Name + " " + x.Definition)
			}
		}
	}
}

// droppedChecks are the names of a domain's checks that are gone already.
func (p *planner) droppedChecks(from *Object) map[string]bool {
	names := map[string]bool{}
	for _, k := range p.from.catalog.constraints {
		if k.Domain == from.oid && p.gone.checks[k.OID] {
			names[k.Name] = true
		}
	}
	return names
}

// checksOf returns a table's checks by name.
func (c *catalog) checksOf(table uint32) []*constraint { return c.checks[table] }

// using returns the expression that turns the old values into new ones, "" if PostgreSQL finds it,
// and whether every value survives as it is.
func (t tableChange) using(a, b *column, replaced bool) (expression string, lossless bool) {
	if replaced {
		return b.Name + "::text::" + b.Type, false
	}
	source, target := t.planner.from.catalog.base(a.TypeOID), t.planner.to.catalog.base(b.TypeOID)
	lossless = widens(source, target, a.Modifier, b.Modifier)
	if source == target && source != 0 {
		return "", lossless || a.Modifier == b.Modifier
	}
	st, tt := t.planner.from.catalog.types[source], t.planner.to.catalog.types[target]
	if source < firstUserOID && target < firstUserOID {
		switch kind := t.planner.to.catalog.casts[[2]uint32{source, target}]; {
		case kind == "i" || kind == "a":
			return "", lossless
		case kind == "e" || st != nil && st.Category == "S":
			return b.Name + "::" + b.Type, lossless
		}
	}
	if tt != nil && tt.Category == "S" && target < firstUserOID {
		return "", b.Modifier < 0
	}
	if st != nil && st.Category == "S" {
		return b.Name + "::" + b.Type, false
	}
	return b.Name + "::text::" + b.Type, false
}

// base returns the type that a domain is made of, and any other type itself.
func (c *catalog) base(oid uint32) uint32 {
	for range 16 {
		t := c.types[oid]
		if t == nil || t.Kind != "d" {
			break
		}
		oid = t.Base
	}
	return oid
}

// OIDs of built-in types.
const (
	int2OID, int4OID, int8OID, numericOID = 21, 23, 20, 1700
	float4OID, float8OID                  = 700, 701
	textOID, varcharOID                   = 25, 1043
)

// widens reports whether every value of the one type is one of the other.
func widens(from, to uint32, fromModifier, toModifier int32) bool {
	isText := from == textOID || from == varcharOID
	if isText && (to == textOID || to == varcharOID && toModifier < 0) {
		return true
	}
	if from == to {
		return toModifier < 0 || fromModifier == toModifier ||
			from == varcharOID && fromModifier >= 0 && toModifier >= fromModifier
	}
	rank := map[uint32]int{int2OID: 1, int4OID: 2, int8OID: 3, numericOID: 4}
	if rank[from] > 0 && rank[to] > rank[from] {
		return to != numericOID || toModifier < 0
	}
	return from == float4OID && to == float8OID
}

// keepsTable reports whether PostgreSQL changes the type without writing the table anew.
func keepsTable(a, b *column) bool {
	text := func(oid uint32) bool { return oid == textOID || oid == varcharOID }
	return text(a.TypeOID) && text(b.TypeOID) && widens(a.TypeOID, b.TypeOID, a.Modifier, b.Modifier)
}
