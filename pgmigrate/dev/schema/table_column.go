package schema

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

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

// changeDefault runs after the type has changed. A default that pg_dump writes separately is set in
// its own place.
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

// requireValues makes a column NOT NULL without a long lock. It adds a check for new rows and
// validates it while others write. Then SET NOT NULL trusts the check.
func (t tableChange) requireValues(b *column) {
	// PostgreSQL 18 gives the constraint that SET NOT NULL makes a name that ends in _not_null.
	ending := "_has_value"
	if len(unquote(b.Name)) > maxName-len(ending) { // two long names may begin alike
		ending = fmt.Sprintf("_%d%s", b.Number, ending)
	}
	name := shortName(unquote(b.Name), ending)
	for _, k := range t.planner.from.catalog.checks[t.old.OID] {
		if k.Valid && k.Definition == "CHECK (("+b.Name+" IS NOT NULL))" && !t.gone.checks[k.OID] &&
			t.stayingCheck(k) {
			t.finishes = append(t.finishes, Statement{SQL: t.alter + "ALTER COLUMN " + b.Name + " SET NOT NULL"})
			return
		}
	}
	t.add(Statement{
		SQL: t.alter + "ADD CONSTRAINT " + name + " CHECK (" + b.Name + " IS NOT NULL) NOT VALID",
		Hazards: []Hazard{{
			"EXISTING_ROWS", fmt.Sprintf("Rows without a value in %s stop the VALIDATE that follows. Give them one "+
				"first: UPDATE %s SET %s = … WHERE %s IS NULL", b.Name, t.new.Name, b.Name, b.Name),
		}},
		Backfill: t.backfill(b),
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

// backfill needs a primary key that does not change.
func (t tableChange) backfill(b *column) Backfill {
	key := func(c *catalog, table uint32) string {
		for _, k := range c.constraints {
			if k.Kind == "p" && k.Table == table {
				return k.Definition
			}
		}
		return ""
	}
	before := key(t.planner.from.catalog, t.old.OID)
	if before == "" || before != key(t.planner.to.catalog, t.new.OID) {
		return Backfill{}
	}
	f := Backfill{Table: t.new.Name, Column: b.Name, Value: b.Default}
	for _, k := range t.planner.to.catalog.constraints {
		if k.Kind == "p" && k.Table == t.new.OID {
			f.Key = t.columnNames("", t.new.OID, k.Columns)
		}
	}
	return f
}

func (t tableChange) stayingCheck(k *constraint) bool {
	return slices.ContainsFunc(t.planner.to.catalog.checks[t.new.OID], func(x *constraint) bool {
		return x.Name == k.Name && x.Definition == k.Definition
	})
}

// defaultGone reports whether the default was unset and not set again yet.
func (p *planner) defaultGone(o *Object) bool {
	a := p.from.defaults[o.oid]
	return a != nil && p.gone.defaults[node{class: classRelation, oid: a.Relation, sub: a.Number}]
}
