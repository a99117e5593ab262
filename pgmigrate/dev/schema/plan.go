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

// model is one side of a comparison with what is looked up in it.
type model struct {
	dump     *Dump
	catalog  *catalog
	byKey    map[string]*Object
	byNode   map[node]*Object
	defaults map[uint32]*column
}

func newModel(d *Dump) *model {
	m := &model{
		dump: d, catalog: d.catalog, byKey: byKey(d), byNode: map[node]*Object{}, defaults: map[uint32]*column{},
	}
	for i := range d.Objects {
		if o := &d.Objects[i]; o.oid != 0 {
			m.byNode[node{class: o.class, oid: o.oid}] = o
		}
	}
	for _, columns := range m.catalog.columns {
		for _, a := range columns {
			if a.DefaultOID != 0 {
				m.defaults[a.DefaultOID] = a
			}
		}
	}
	return m
}

// planner walks the old schema backward for what goes and the new one forward for what comes.
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
	finishes     []Statement // that need what is validated
	attaches     []Statement // of partitions, which get their indexes first
	refreshes    []Statement
	relaxes      []Statement // of NOT NULL, when no key needs it any more
	unexpressed  []Change
}

// Plan returns the statements to run. It drops in the reverse of the old order what is gone or
// stands in the way, then creates and changes in the new order, and at last drops what was in use
// until then.
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

// addAspects adds statements that set properties. An index that identifies rows needs columns that
// are NOT NULL by then.
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

// flush adds what waits for the end of the migration.
func (p *planner) flush() {
	p.add(p.indexes...)
	p.add(p.validations...)
	p.add(p.finishes...)
	p.add(p.attaches...) // a partition has none of its parent's temporary checks
	p.attaches, p.indexes, p.validations, p.finishes = nil, nil, nil, nil
}

// hasBody reports whether the server checks the body of a function. It may come before what the
// body names, because no catalog records that.
func (c Change) hasBody() bool {
	return c.To != nil && (c.To.Type == "FUNCTION" || c.To.Type == "PROCEDURE") &&
		strings.Contains(c.To.SQL[0], "\n    LANGUAGE sql")
}

// drop adds what goes before anything comes, and returns what goes when all is done.
func (p *planner) drop() (late []Statement) {
	var (
		stays = map[string]bool{}
		all   = p.from.dump.Objects
	)
	for i := len(all) - 1; i >= 0; i-- {
		p.unset(&all[i])
		p.stamp(&all[i])
	}
	for i := len(all) - 1; i >= 0; i-- { // the indexes of a partition are its own then
		if o := &all[i]; o.Type == "TABLE ATTACH" && p.gone.objects[o.key()] && !p.goesAlong(o) {
			p.add(p.dropOf(o)...)
			p.stamp(o)
		}
	}
	for i := len(all) - 1; i >= 0; i-- {
		o := &all[i]
		if !p.gone.objects[o.key()] || p.goesAlong(o) || o.Type == "TABLE ATTACH" {
			continue
		}
		before := len(late)
		switch {
		case p.gone.swapped[o.key()]:
			stays[o.key()] = true
		case p.gone.types[o.oid] && o.class == classType:
			old := shortName(o.Name, "_old")
			p.addSQL("ALTER " + o.Type + " " + o.qualified() + " RENAME TO " + old)
			late = append(late, Statement{SQL: "DROP " + o.Type + " " + quoteIfNeeded(o.Schema) + "." + old})
			stays[o.key()] = true
		case p.inUse(o, stays):
			stays[o.key()] = true
			if to := p.to.byKey[o.key()]; to != nil {
				p.refuse(Change{From: o, To: to}, "what uses it stays, so PostgreSQL does not drop it to make it again")
				p.made[o.key()] = true
				continue
			}
			late = append(late, p.dropOf(o)...)
		default:
			p.add(p.dropOf(o)...)
			p.dropped[o.key()] = true
		}
		p.stamp(o)
		for ; before < len(late); before++ {
			late[before].object = o
		}
	}
	return late
}

// unset takes off the parts of a table or domain that stand in the way of a later statement. They
// come back at its place.
func (p *planner) unset(o *Object) {
	switch o.Type {
	case "TABLE":
		if p.gone.objects[o.key()] {
			return
		}
		for _, a := range p.from.catalog.columns[o.oid] {
			if p.gone.defaults[node{class: classRelation, oid: o.oid, sub: a.Number}] {
				p.addSQL("ALTER TABLE " + p.only(o) + " ALTER COLUMN " + a.Name + " DROP DEFAULT")
			}
		}
		for _, k := range p.from.catalog.checksOf(o.oid) {
			if k.Inherited > 0 {
				delete(p.gone.checks, k.OID) // it goes with the parent's
			} else if p.gone.checks[k.OID] {
				p.addSQL("ALTER TABLE " + o.qualified() + " DROP CONSTRAINT " + k.Name)
			}
		}
	case "DOMAIN":
		for _, k := range p.from.catalog.constraints {
			if k.Domain == o.oid && p.gone.checks[k.OID] && !p.gone.objects[o.key()] {
				p.addSQL("ALTER DOMAIN " + o.qualified() + " DROP CONSTRAINT " + k.Name)
			}
		}
	}
}

// only returns the table's name for a statement that its children are not to get as well.
func (p *planner) only(o *Object) string {
	for _, r := range p.from.catalog.relations {
		if slices.Contains(r.Parents, o.oid) {
			return "ONLY " + o.qualified()
		}
	}
	return o.qualified()
}

// inUse reports whether something that stays, or that is dropped at the end, still needs the object
// while the statements run.
func (p *planner) inUse(o *Object, stays map[string]bool) bool {
	if o.oid == 0 {
		return false
	}
	switch o.Type {
	case "TYPE", "DOMAIN", "SEQUENCE", "SCHEMA", "EXTENSION", "COLLATION", "TABLE", "VIEW", "MATERIALIZED VIEW",
		"FOREIGN TABLE", "FUNCTION", "PROCEDURE", "AGGREGATE", "FOREIGN DATA WRAPPER", "SERVER":
	default:
		return false
	}
	c := p.from.catalog
	edges := c.dependents[node{class: o.class, oid: o.oid}]
	if o.class == classRelation {
		for _, a := range c.columns[o.oid] {
			edges = append(slices.Clip(edges), c.dependents[node{class: classRelation, oid: o.oid, sub: a.Number}]...)
		}
	}
	return slices.ContainsFunc(edges, func(e edge) bool { return p.stays(o, e.from, stays) })
}

// stays reports whether d, which uses o, is there when o is to go.
func (p *planner) stays(o *Object, d node, stays map[string]bool) bool {
	c := p.from.catalog
	switch d.class {
	case classDefault:
		a := p.from.defaults[d.oid]
		if a == nil {
			return false
		}
		self := node{class: classRelation, oid: a.Relation, sub: a.Number}
		d = node{class: classRelation, oid: a.Relation}
		if p.gone.defaults[self] {
			return false
		}
	case classConstraint:
		k := c.constraints[d.oid]
		if k == nil || p.gone.checks[d.oid] {
			return false
		}
		if k.Kind == "c" {
			d = node{class: classRelation, oid: k.Table}
			if k.Domain != 0 {
				d = node{class: classType, oid: k.Domain}
			}
		}
	case classRelation:
		r := c.relations[d.oid]
		if r == nil || r.Kind == "S" || r.Partition && d.sub == 0 {
			return false
		}
	}
	x := p.from.byNode[node{class: d.class, oid: d.oid}]
	if x == nil {
		return false
	}
	if !p.gone.objects[x.key()] || stays[x.key()] {
		return true
	}
	owner := p.from.ownerOf(x)
	return owner != nil && owner != o && p.gone.objects[owner.key()] && !p.dropped[owner.key()] && p.goesAlong(x)
}

// goesAlong reports whether the object is dropped with the table, view or column that it is a part
// of.
func (p *planner) goesAlong(o *Object) bool {
	c := p.from.catalog
	switch o.Type {
	case "COMMENT", "ACL", "DEFAULT ACL", "INDEX ATTACH":
		return true
	case "INDEX":
		if r := c.relations[o.oid]; r != nil && r.Partition && !p.detached(r.IndexOf) {
			for _, parent := range r.Parents {
				if x := p.from.byNode[c.fold(node{class: classRelation, oid: parent})]; x != nil &&
					p.gone.objects[x.key()] {
					return true
				}
			}
		}
	case "CONSTRAINT", "FK CONSTRAINT":
		if k := c.constraints[o.oid]; k != nil && k.Parent != 0 && !p.detached(k.Table) {
			x := p.from.byNode[node{class: classConstraint, oid: k.Parent}]
			if x == nil || p.gone.objects[x.key()] {
				return true
			}
		}
	case "SEQUENCE":
		return p.sequenceGoes(o)
	case "SEQUENCE OWNED BY":
		for _, key := range o.uses {
			if x := p.from.byKey[key]; x != nil && x.Type == "SEQUENCE" && p.gone.objects[key] {
				return true
			}
		}
		return false
	}
	owner := p.from.ownerOf(o)
	if owner == nil || owner == o {
		return false
	}
	switch o.Type {
	case "FK CONSTRAINT":
		k := c.constraints[o.oid]
		if k == nil || k.ForeignTable == k.Table {
			break
		}
		for _, oid := range []uint32{k.ForeignTable, k.Index} { // what it refers to
			if x := p.from.byNode[c.fold(node{class: classRelation, oid: oid})]; x != nil && p.gone.objects[x.key()] {
				return false
			}
		}
	case "POLICY", "RULE":
		return false
	case "TABLE ATTACH": // a table that is referred to keeps its partitions until they are detached
		if p.gone.objects[owner.key()] && slices.ContainsFunc(c.relations[owner.oid].Parents, p.isReferred) {
			return false
		}
	case "DEFAULT":
		a := p.from.defaults[o.oid]
		if a == nil || owner.Type != "TABLE" {
			break
		}
		return true // with its column, at the table's place, or before
	case "CHECK CONSTRAINT":
		if owner.Type == "TABLE" {
			return true // at the table's place
		}
	}
	return p.gone.objects[owner.key()]
}

// isReferred reports whether a foreign key refers to a table that stays.
func (p *planner) isReferred(table uint32) bool {
	if p.ofGoneTable(table) {
		return false
	}
	for _, k := range p.from.catalog.constraints {
		if k.Kind == "f" && k.ForeignTable == table {
			return true
		}
	}
	return false
}

// sequenceGoes reports whether a sequence is dropped with the column that owns it.
func (p *planner) sequenceGoes(o *Object) bool {
	for _, n := range p.from.catalog.owners[o.oid] {
		if p.gone.columns[n] || p.ofGoneTable(n.oid) {
			to := p.to.byKey[o.key()]
			return to == nil || !p.gone.columns[n] || isIdentity(o)
		}
	}
	return false
}

var addIdentity = regexp.MustCompile(`^(ALTER TABLE (?:ONLY )?(` + qualified + `) ALTER COLUMN (` + identifier +
	`)) ADD GENERATED (ALWAYS|BY DEFAULT) AS IDENTITY \(([^;]*)\)$`)

func isIdentity(o *Object) bool { return o.Type == "SEQUENCE" && addIdentity.MatchString(o.SQL[0]) }

// recreated are the kinds of objects whose users notice that they are made again.
var recreated = map[string]bool{
	"VIEW": true, "MATERIALIZED VIEW": true, "FUNCTION": true, "PROCEDURE": true, "AGGREGATE": true, "TRIGGER": true,
	"POLICY": true, "RULE": true, "PUBLICATION": true, "PUBLICATION TABLE": true, "FOREIGN TABLE": true,
}

// dropOf returns the statement that drops one object.
func (p *planner) dropOf(o *Object) []Statement {
	var hazards []Hazard
	if _, comes := p.to.byKey[o.key()]; comes && recreated[o.Type] {
		hazards = append(hazards, hazardRecreate)
	}
	switch o.Type {
	case "TABLE":
		hazards = append(hazards, Hazard{deletesData, "Deletes all rows in the table (and the table itself)"})
	case "INDEX":
		hazards = append(hazards, hazardIndexDropped)
		if r := p.from.catalog.relations[o.oid]; r != nil {
			concurrently := ""
			if r.Kind == "i" && !r.Partition {
				concurrently = "CONCURRENTLY "
			}
			return []Statement{{SQL: "DROP INDEX " + concurrently + r.Name, Hazards: hazards}}
		}
	case "SEQUENCE":
		if m := addIdentity.FindStringSubmatch(o.SQL[0]); m != nil {
			return []Statement{{SQL: m[1] + " DROP IDENTITY"}}
		}
		if len(p.from.catalog.owners[o.oid]) == 0 {
			hazards = append(hazards, Hazard{deletesData, "Deletes the number that the sequence has reached."})
		}
	case "CONSTRAINT":
		if _, comes := p.to.byKey[o.key()]; comes {
			hazards = []Hazard{hazardKeyDropped}
		}
	case "ROW SECURITY":
		return []Statement{{
			SQL:     strings.Replace(o.SQL[0], " ENABLE ", " DISABLE ", 1),
			Hazards: []Hazard{hazardGrant},
		}}
	}
	list, ok := o.drop()
	if !ok {
		if c, isChange := p.changed[o.key()]; isChange {
			p.refuse(c, "PostgreSQL has no statement that drops it alone")
		}
		return nil
	}
	list[0].Hazards = append(list[0].Hazards, hazards...)
	return list
}

// ownerOf returns the relation or domain that an object is a part of.
func (m *model) ownerOf(o *Object) *Object {
	var table uint32
	switch {
	case o.Type == "INDEX":
		if r := m.catalog.relations[o.oid]; r != nil {
			table = r.IndexOf
		}
	case o.class == classConstraint:
		if k := m.catalog.constraints[o.oid]; k != nil {
			if k.Domain != 0 {
				return m.byNode[node{class: classType, oid: k.Domain}]
			}
			table = k.Table
		}
	case o.class == classDefault:
		if a := m.defaults[o.oid]; a != nil {
			table = a.Relation
		}
	}
	if table != 0 {
		return m.byNode[node{class: classRelation, oid: table}]
	}
	switch o.Type {
	case "TRIGGER", "RULE", "POLICY", "ROW SECURITY", "TABLE ATTACH", "INDEX ATTACH", "STATISTICS":
	default:
		return nil
	}
	for _, key := range o.uses {
		x := m.byKey[key]
		if x == nil || x.Schema != o.Schema && o.Type != "STATISTICS" {
			continue
		}
		switch x.Type {
		case "TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "INDEX":
			if o.Type == "STATISTICS" || o.Name == x.Name || strings.HasPrefix(o.Name, x.Name+" ") {
				return x
			}
		}
	}
	return nil
}

// create walks the new schema.
func (p *planner) create() {
	for _, c := range p.changes {
		switch c.Object().Type {
		case "COMMENT":
			if c.To == nil && !p.ofRenamed(c.From) {
				p.add(p.comment(c)...)
				p.stamp(c.From)
			}
		case "ACL", "DEFAULT ACL": // new objects are not to get what is granted no more
			if c.From != nil && !p.comesBack(c.From) {
				p.add(p.revoke(c)...)
				p.stamp(c.From)
			}
		}
	}
	partsDone := false
	for i := range p.to.dump.Objects {
		o := &p.to.dump.Objects[i]
		if !partsDone && comesAfterIndexes[o.Type] {
			partsDone = true
			if len(p.attaches) > 0 {
				p.flush()
			}
		}
		p.make(o)
	}
}

// comesAfterIndexes are the kinds of entries that pg_dump writes behind indexes and keys.
var comesAfterIndexes = map[string]bool{
	"INDEX ATTACH": true, "STATISTICS": true, "RULE": true, "TRIGGER": true, "FK CONSTRAINT": true,
	"ROW SECURITY": true,
	"POLICY":       true, "PUBLICATION": true,
}

// stamp marks the statements that were added since as the object's.
func (p *planner) stamp(o *Object) {
	for _, list := range [][]Statement{
		p.main, p.indexes, p.validations, p.finishes, p.attaches, p.relaxes, p.refreshes,
	} {
		for i := len(list) - 1; i >= 0 && list[i].object == nil; i-- {
			list[i].object = o
		}
	}
}

// make adds the statements for one object of the new schema.
func (p *planner) make(o *Object) {
	defer p.stamp(o)
	key := o.key()
	if p.made[key] || p.renamed[key] {
		return
	}
	p.made[key] = true
	old := p.from.byKey[key]
	c, changed := p.changed[key]
	if o.Type == "COMMENT" || o.Type == "ACL" || o.Type == "DEFAULT ACL" {
		if !changed && (p.comesBack(o) || p.revoked(o)) {
			c, changed = Change{To: o}, true
		}
		if changed {
			if c.From != nil && p.comesBack(o) {
				c.From = nil
			}
			p.makeAspect(c)
		}
		return
	}
	owner := p.to.ownerOf(o)
	switch {
	case old == nil || p.gone.objects[key] || owner != nil && p.gone.objects[owner.key()]:
		p.makeNew(o, old)
	case changed:
		p.change(c)
	case o.Type == "TABLE" && p.touches(old):
		p.alterTable(old, o)
	case o.Type == "DEFAULT" && p.defaultGone(old):
		p.makeDefault(o)
	case o.Type == "DOMAIN":
		p.restoreChecks(old, o)
	case o.Type == "SEQUENCE OWNED BY" && p.gone.objects[keyOfSequence(o)]:
		p.add(statements(o.SQL)...)
	case o.Type == "CHECK CONSTRAINT" && p.checkGone(old):
		p.makeCheck(o)
	}
}

func keyOfSequence(o *Object) string {
	for _, key := range o.uses {
		if strings.HasPrefix(key, "SEQUENCE\x00") {
			return key
		}
	}
	return ""
}

// comesBack reports whether what a comment or grant is about was dropped and made again.
func (p *planner) comesBack(o *Object) bool {
	for _, key := range o.uses {
		on := p.to.byKey[key]
		if on == nil || p.from.byKey[key] == nil {
			continue
		}
		if p.gone.objects[key] {
			return true
		}
		if on.Type == "TABLE" && strings.HasPrefix(o.Name, "COLUMN ") {
			parts := namePart.FindAllString(strings.TrimPrefix(o.Name, "COLUMN "), -1)
			for _, a := range p.from.catalog.columns[p.from.byKey[key].oid] {
				if len(parts) > 0 && unquote(a.Name) == unquote(parts[len(parts)-1]) &&
					p.gone.columns[node{class: classRelation, oid: a.Relation, sub: a.Number}] {
					return true
				}
			}
		}
		if on.Type == "TABLE" && strings.HasPrefix(o.Name, "CONSTRAINT ") {
			for _, k := range p.from.catalog.checksOf(p.from.byKey[key].oid) {
				if p.gone.checks[k.OID] && strings.HasPrefix(o.Name, "CONSTRAINT "+unquote(k.Name)+" ON ") {
					return true
				}
			}
		}
	}
	return false
}

// revoked reports whether a grant on a column went with one on its table.
func (p *planner) revoked(o *Object) bool {
	if o.Type != "ACL" || !strings.HasPrefix(o.Name, "COLUMN ") {
		return false
	}
	return slices.ContainsFunc(p.changes, func(c Change) bool {
		return c.From != nil && c.From.Type == "ACL" && strings.HasPrefix(c.From.Name, "TABLE ") &&
			slices.ContainsFunc(c.From.uses, func(key string) bool { return slices.Contains(o.uses, key) }) &&
			len(p.revoke(c)) > 0
	})
}

// makeAspect adds the statements for a comment or a grant.
func (p *planner) makeAspect(c Change) {
	if c.Object().Type != "COMMENT" {
		p.add(p.grant(c)...)
		return
	}
	if slices.ContainsFunc(p.indexes, func(s Statement) bool { return slices.Contains(c.To.uses, s.object.key()) }) {
		p.indexes = append(p.indexes, p.comment(c)...)
		return
	}
	p.add(p.comment(c)...)
}

func (p *planner) ofRenamed(o *Object) bool {
	return slices.ContainsFunc(o.uses, func(key string) bool { return p.renamed[key] })
}

// makeNew adds the statements for an object that is new, or was dropped to be made again.
func (p *planner) makeNew(o, old *Object) {
	p.pull(o)
	owner := p.to.ownerOf(o)
	stays := owner != nil && p.survives(owner)
	switch o.Type {
	case "TABLE":
		if o.AccessMethod != "" {
			p.addSQL("SET default_table_access_method = " + quoted(o.AccessMethod))
		}
		p.add(statements(o.SQL)...)
		if o.AccessMethod != "" {
			p.addSQL("RESET default_table_access_method")
		}
	case "INDEX":
		p.makeIndex(o, old, stays)
	case "CONSTRAINT":
		p.makeKey(o, old, stays)
	case "FK CONSTRAINT":
		p.makeForeignKey(o, stays)
	case "CHECK CONSTRAINT":
		if stays && owner.Type == "TABLE" {
			p.makeCheck(o)
			return
		}
		p.add(statements(o.SQL)...)
	case "DEFAULT":
		p.makeDefault(o)
	case "SEQUENCE":
		p.makeSequence(o)
	case "TABLE ATTACH":
		if p.parentStays(o) || owner != nil && stays {
			p.attaches = append(p.attaches, statements(o.SQL)...)
			return
		}
		p.add(statements(o.SQL)...)
	case "MATERIALIZED VIEW":
		p.add(statements(o.SQL)...)
		if r := p.to.catalog.relations[o.oid]; r != nil && r.Populated {
			p.refreshes = append(p.refreshes, Statement{
				SQL: "REFRESH MATERIALIZED VIEW " + r.Name, Hazards: []Hazard{hazardRefresh},
			})
		}
	default:
		list := statements(o.SQL)
		if o.Type == "POLICY" || o.Type == "ROW SECURITY" {
			list[0].Hazards = append(list[0].Hazards, hazardGrant)
		}
		p.add(list...)
	}
}

// survives reports whether an object of the new schema was there all along.
func (p *planner) survives(o *Object) bool {
	return p.from.byKey[o.key()] != nil && !p.gone.objects[o.key()]
}

// parentStays reports whether the partitioned table of a TABLE ATTACH was there all along.
func (p *planner) parentStays(o *Object) bool {
	m := attaches.FindStringSubmatch(o.SQL[0])
	for _, key := range o.uses {
		x := p.to.byKey[key]
		if x != nil && x.Type == "TABLE" && x.Name != o.Name && m != nil && lastPart(m[1]) == x.Name && p.survives(x) {
			return true
		}
	}
	return false
}

// pull makes first what a new object needs and pg_dump writes behind it.
func (p *planner) pull(o *Object) {
	for _, key := range o.uses {
		x := p.to.byKey[key]
		if x == nil || p.made[key] || x.Type == "TABLE" || p.from.byKey[key] != nil && !p.gone.objects[key] {
			continue
		}
		p.make(x)
	}
}

// change adds the statements for an object that is there in another form.
func (p *planner) change(c Change) {
	o := c.To
	switch o.Type {
	case "TABLE":
		p.alterTable(c.From, c.To)
		return
	case "DEFAULT":
		p.makeDefault(o)
		return
	case "CHECK CONSTRAINT":
		return // at its table's place
	}
	if same, list := changedAspects(*c.From, *c.To); same {
		p.addAspects(list)
		return
	}
	if o.Type == "TYPE" && (baseType.MatchString(o.SQL[0]) || rangeType.MatchString(o.SQL[0])) {
		return // refused
	}
	switch o.Type {
	case "VIEW", "FUNCTION", "PROCEDURE", "AGGREGATE":
		list := statements(o.SQL)
		list[0].SQL = strings.Replace(list[0].SQL, "CREATE ", "CREATE OR REPLACE ", 1)
		p.add(list...)
	case "SEQUENCE":
		p.alterSequence(c)
	case "DOMAIN":
		p.restoreChecks(c.From, c.To)
		list, _ := alterDomain(c.From.SQL[0], c.To.SQL[0], p.droppedChecks(c.From))
		p.add(list...)
	case "TYPE":
		list, ok := alterEnum(c.From.SQL[0], c.To.SQL[0])
		if !ok {
			list, _ = alterComposite(c.From.SQL[0], c.To.SQL[0])
		}
		p.add(list...)
	case "EXTENSION":
		if m := extensionSchema.FindStringSubmatch(o.SQL[0]); m != nil {
			p.addSQL("ALTER EXTENSION " + m[1] + " SET SCHEMA " + m[2])
			return
		}
		p.refuse(c, "no statement is known that changes it")
	default:
		p.refuse(c, "no statement is known that changes it")
	}
}

var extensionSchema = regexp.MustCompile(`^CREATE EXTENSION (?:IF NOT EXISTS )?(` + identifier + `) WITH SCHEMA (` +
	identifier + `)$`)

// replaceable reports whether an object can be changed in place.
func (p *planner) replaceable(c Change) bool {
	if same, _ := changedAspects(*c.From, *c.To); same {
		return true
	}
	switch c.To.Type {
	case "VIEW":
		from, to := p.from.catalog.columns[c.From.oid], p.to.catalog.columns[c.To.oid]
		if len(to) < len(from) || c.From.isDummy() || c.To.isDummy() {
			return false
		}
		for i, a := range from {
			if b := to[i]; a.Name != b.Name || a.Type != b.Type || a.Collation != b.Collation {
				return false
			}
		}
		return true
	case "FUNCTION", "PROCEDURE":
		from, to := p.from.catalog.functions[c.From.oid], p.to.catalog.functions[c.To.oid]
		if from == nil || to == nil || from.Head != to.Head || from.Defaults > to.Defaults {
			return false
		}
		for i, name := range from.Names {
			if name != "" && (i >= len(to.Names) || name != to.Names[i]) {
				return false
			}
		}
		return true
	case "SEQUENCE":
		from, to := addIdentity.FindStringSubmatch(c.From.SQL[0]), addIdentity.FindStringSubmatch(c.To.SQL[0])
		return (from == nil) == (to == nil) && (from == nil || from[1] == to[1])
	case "DEFAULT", "COMMENT", "ACL", "DEFAULT ACL", "CHECK CONSTRAINT", "EXTENSION", "SCHEMA":
		return c.To.Type != "CHECK CONSTRAINT" || p.to.ownerOf(c.To) != nil && p.to.ownerOf(c.To).Type == "TABLE"
	}
	return false
}

// isDummy reports whether pg_dump writes the view without its query, which follows as a rule
// because it needs a key.
func (o *Object) isDummy() bool { return strings.Contains(o.SQL[0], "SELECT\n    NULL::") }

// alterable reports whether ALTER can change the type as it stands.
func (p *planner) alterable(c Change) bool {
	if same, _ := changedAspects(*c.From, *c.To); same {
		return true
	}
	if c.To.Type == "DOMAIN" {
		_, ok := alterDomain(c.From.SQL[0], c.To.SQL[0], nil)
		return ok
	}
	if _, ok := alterEnum(c.From.SQL[0], c.To.SQL[0]); ok {
		return true
	}
	list, ok := alterComposite(c.From.SQL[0], c.To.SQL[0])
	if !ok {
		return false
	}
	return !p.hasColumns(c.From) || !slices.ContainsFunc(list, func(s Statement) bool {
		return strings.Contains(s.SQL, " ALTER ATTRIBUTE ")
	})
}

// hasColumns reports whether columns are of the type.
func (p *planner) hasColumns(o *Object) bool {
	return slices.ContainsFunc(p.from.catalog.dependents[node{class: classType, oid: o.oid}], func(e edge) bool {
		return e.from.class == classRelation && e.from.sub != 0
	})
}

// findRenames takes out pairs of indexes and constraints of one table that differ in their names
// alone.
func (p *planner) findRenames() {
	taken := map[string]bool{} // names that the old schema uses for something else
	for _, r := range p.from.catalog.relations {
		taken[r.Name] = true
	}
	for _, c := range p.changes {
		if c.To != nil {
			continue
		}
		form := p.from.formOf(c.From)
		if form == "" {
			continue
		}
		for _, n := range p.changes {
			if n.From != nil || p.renamed[n.To.key()] || n.To.Type != c.From.Type || p.to.formOf(n.To) != form {
				continue
			}
			if len(c.From.SQL) != len(n.To.SQL) || taken[p.to.indexOf(n.To)] {
				continue
			}
			p.renamed[c.From.key()], p.renamed[n.To.key()] = true, true
			if c.From.Type == "INDEX" {
				p.addSQL("ALTER INDEX " + p.from.catalog.relations[c.From.oid].Name + " RENAME TO " +
					lastQuoted(p.to.catalog.relations[n.To.oid].Name))
			} else {
				k := p.from.catalog.constraints[c.From.oid]
				table := p.from.catalog.relations[k.Table].Name
				p.addSQL("ALTER TABLE " + table + " RENAME CONSTRAINT " + k.Name + " TO " +
					p.to.catalog.constraints[n.To.oid].Name)
			}
			break
		}
	}
	p.changes = slices.DeleteFunc(slices.Clone(p.changes), func(c Change) bool {
		return (c.From == nil || c.To == nil) && p.renamed[c.Object().key()]
	})
}

// formOf is an index's or constraint's definition without its name, "" for those that are not
// renamed.
func (m *model) formOf(o *Object) string {
	switch o.Type {
	case "INDEX":
		r := m.catalog.relations[o.oid]
		if r == nil || r.Partition || r.Kind != "i" {
			return ""
		}
		at := strings.Index(o.SQL[0], " "+lastQuoted(r.Name)+" ON ")
		if at < 0 {
			return ""
		}
		return o.SQL[0][:at] + o.SQL[0][at+len(lastQuoted(r.Name))+1:]
	case "CONSTRAINT", "FK CONSTRAINT":
		k := m.catalog.constraints[o.oid]
		if k == nil || k.Parent != 0 || m.catalog.relations[k.Table] == nil {
			return ""
		}
		return m.catalog.relations[k.Table].Name + " " + k.Definition
	}
	return ""
}

// indexOf returns the name of an index, or of the one that a key has; "" for foreign keys.
func (m *model) indexOf(o *Object) string {
	oid := o.oid
	if o.class == classConstraint {
		k := m.catalog.constraints[o.oid]
		if k == nil || k.Kind == "f" {
			return ""
		}
		oid = k.Index
	}
	if r := m.catalog.relations[oid]; r != nil {
		return r.Name
	}
	return ""
}

func lastQuoted(name string) string {
	parts := namePart.FindAllString(name, -1)
	return parts[len(parts)-1]
}

// qualified returns the object's name with its schema, in quotes where they are needed.
func (o *Object) qualified() string {
	if m := objectName.FindStringSubmatch(o.Drop); m != nil {
		return m[1]
	}
	return quoted(o.Schema) + "." + quoted(o.Name)
}

var objectName = regexp.MustCompile(`^DROP (?:TABLE|TYPE|DOMAIN|VIEW|MATERIALIZED VIEW|FOREIGN TABLE|SEQUENCE) (` +
	qualified + `)$`)

// maxName is the length of PostgreSQL's names in bytes.
const maxName = 63

// shortName returns the quoted name with an ending, cut to the length that PostgreSQL knows.
func shortName(name, ending string) string {
	if limit := maxName - len(ending); len(name) > limit {
		name = strings.ToValidUTF8(name[:limit], "")
	}
	return quoteIfNeeded(name + ending)
}

var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

func quoteIfNeeded(name string) string {
	if plainName.MatchString(name) {
		return name
	}
	return quoted(name)
}

const qualified = identifier + `(?:\.` + identifier + `)?`

var attaches = regexp.MustCompile(`^ALTER (?:TABLE|INDEX)(?: ONLY)? (` + qualified +
	`) ATTACH PARTITION (` + qualified + `)`)

var namePart = regexp.MustCompile(identifier)

// lastPart returns the name without its schema and quotes.
func lastPart(name string) string {
	parts := namePart.FindAllString(name, -1)
	if len(parts) == 0 {
		return name
	}
	return unquote(parts[len(parts)-1])
}

func statements(sql []string) []Statement {
	list := make([]Statement, len(sql))
	for i := range sql {
		list[i].SQL = sql[i]
	}
	return list
}
