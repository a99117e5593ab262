package lint

import (
	"fmt"
	"strings"
)

// columns judges what becomes of the columns of tables that existed.
func (j *judge) columns() {
	for _, change := range j.changed() {
		before, after := change[0], change[1]
		if after == nil || before.Kind != "r" && before.Kind != "p" && before.Kind != "f" && before.Kind != "v" {
			continue
		}
		for _, number := range sortedKeys(after.Columns) {
			now := after.Columns[number]
			was, known := before.Columns[number]
			_, old := j.existing(before.OID).Columns[number] // or added by the section: nobody knows its name
			switch {
			case before.Kind == "v":
				if old && known && was.Name != now.Name {
					j.renamedColumn(after, was, now)
				}
			case !known:
				j.newColumn(after, now)
			default:
				if old && was.Name != now.Name {
					j.renamedColumn(after, was, now)
				}
				if was.Type != now.Type {
					j.newType(before, after, was, now)
				}
				if !was.NotNull && now.NotNull && j.scanned(after.OID) &&
					!j.explained("unique-constraint", "column-type") {
					j.add("set-not-null", fmt.Sprintf("checks that %s of %s has no null", quote(now.Name), after),
						j.notNullFix(after, now.Name))
				}
			}
		}
		for _, number := range sortedKeys(before.Columns) {
			_, kept := after.Columns[number]
			if _, old := j.existing(before.OID).Columns[number]; old && !kept && before.Kind != "v" {
				j.add("drop-column", fmt.Sprintf("drops %s of %s", quote(before.Columns[number].Name), after),
					"First release a version that does not name the column, SELECT * included; then drop it, with "+
						"the allow comment.")
			}
		}
	}
}

func (j *judge) notNullFix(table *relation, name string) string {
	constraint := quote(table.Name + "_" + name + "_not_null")
	if j.target >= 18 {
		return fmt.Sprintf("alter table %s add constraint %s not null %s not valid;\n-- in the next migration:\n"+
			"alter table %s validate constraint %s;",
			table, constraint, quote(name), table, constraint)
	}
	return fmt.Sprintf(`alter table %s add constraint %s check (%s is not null) not valid;
-- in the next migration:
alter table %s validate constraint %s;
-- in the one after:
alter table %s alter column %s set not null; -- no scan: the check is proof
alter table %s drop constraint %s;`, table, constraint, quote(name), table, constraint, table,
		quote(name), table, constraint)
}

func (j *judge) newColumn(table *relation, c column) {
	name := fmt.Sprintf("%s of %s", quote(c.Name), table)
	if c.Type == "json" {
		j.add("json-column", "adds "+name, fmt.Sprintf("alter table %s add column %s jsonb;", table, quote(c.Name)))
	}
	switch {
	case !j.rewritten(table.OID):
		if c.NotNull && c.Default == "" && c.Identity == "" && c.Generated == "" {
			j.add("required-column", "adds "+name+" with NOT NULL and no default",
				fmt.Sprintf("alter table %s add column %s %s not null default VALUE; -- a constant is not written "+
					"to the rows", table, quote(c.Name), c.Type))
		}
	case c.Generated == "s":
		fix := "Add an ordinary column, fill it for new rows by a trigger and for old ones in batches."
		if j.target >= 18 {
			fix = "A VIRTUAL column is not written to the rows; for a stored one: " + fix
		}
		j.add("volatile-default", "writes generated column "+name+" to every row", fix)
	case c.Identity != "" || strings.HasPrefix(c.Default, "nextval("):
		j.add("volatile-default", "writes a number to "+name+" in every row",
			"Add the column without a default, then the sequence as the default of new rows, and fill the old ones "+
				"in batches.")
	case c.Default != "":
		j.add("volatile-default", "computes "+c.Default+" for "+name+" in every row", fmt.Sprintf(
			"alter table %s add column %s %s;\nalter table %s alter column %s set default %s; -- for new rows\n-- "+
				"then fill the old ones in batches, each in a transaction of its own",
			table, quote(c.Name), c.Type, table, quote(c.Name), c.Default))
	}
}

func (j *judge) renamedColumn(table *relation, was, now column) {
	j.add("rename-column", fmt.Sprintf("renames %s of %s to %s", quote(was.Name), table, quote(now.Name)),
		fmt.Sprintf("Add %s, write both, fill it in batches, read it, stop using %s, drop that: each in a release "+
			"of its own.", quote(now.Name), quote(was.Name)))
}

// newType judges a change of type by what it does: many are free.
func (j *judge) newType(before, table *relation, was, now column) {
	message := fmt.Sprintf("changes %s of %s from %s to %s", quote(now.Name), table, was.Type, now.Type)
	fix := fmt.Sprintf("Add a column of type %s, write both, fill it in batches, read it, drop the old one: each in "+
		"a release of its own.", now.Type)
	switch {
	case j.rewritten(table.OID):
		j.add("column-type", message+": writes every row anew", fix)
	case j.rebuiltIndex(before.OID) != nil:
		j.add("column-type", fmt.Sprintf("%s: builds index %s anew", message, j.rebuiltIndex(before.OID)), fix)
	case j.scanned(table.OID):
		j.add("column-type", message+": checks every row", fix)
	case strings.HasPrefix(was.Type, "timestamp") && strings.HasPrefix(now.Type, "timestamp") &&
		strings.HasSuffix(was.Type, "with time zone") != strings.HasSuffix(now.Type, "with time zone"):
		j.add("column-type-timezone", message,
			"set local timezone = 'UTC'; -- if the column holds UTC\n"+j.statement.SQL+";")
	}
}

// rebuiltIndex returns an index of the table that the statement made again.
func (j *judge) rebuiltIndex(table uint32) *relation {
	for _, r := range j.created() {
		if r.Kind != "i" || !j.family(r.Table, table) {
			continue
		}
		for _, before := range j.obs.before {
			if before.Name == r.Name && before.Schema == r.Schema && before.OID != r.OID && before.File != r.File {
				return r
			}
		}
	}
	for oid, before := range j.obs.before {
		if after := j.obs.after[oid]; after != nil && before.Kind == "i" && j.family(before.Table, table) &&
			before.File != after.File {
			return after
		}
	}
	return nil
}
