package lint

import (
	"context"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/backfill"
)

// backfills holds the backfills of the folder and how the migrations refer to them.
type backfills struct {
	known    bool // there is a folder, or there should be
	list     []backfillUse
	required map[string]int32 // by name: the first version that requires it
	checked  []string         // migrations with a pgmigrate:check
}

// backfillUse describes what a backfill reads and writes, as far as its statement can be parsed.
type backfillUse struct {
	name, schema, table string
	sets, names         []string // columns
}

func readBackfills(fsys fs.FS, migrations []pgmigrate.Migration) (*backfills, error) {
	b := &backfills{required: map[string]int32{}, known: fsys != nil}
	for _, m := range slices.Backward(migrations) {
		for _, name := range m.RequiredBackfills() {
			b.required[name] = m.Version
		}
		if strings.Contains(m.Up, "pgmigrate:check") {
			b.checked = append(b.checked, m.Up)
		}
	}
	if fsys == nil {
		return b, nil
	}
	files, err := backfill.Check(fsys)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		use := backfillUse{name: f.Name}
		parseOne("select from "+f.Table).each("RangeVar", func(n node) { use.schema, use.table = rangeVar(n) })
		statement := parseOne(f.Statement)
		statement.each("UpdateStmt", func(n node) {
			for _, target := range n.list("targetList") {
				use.sets = append(use.sets, asNode(target).node("ResTarget").text("name"))
			}
		})
		use.names = slices.Clone(use.sets)
		statement.each("ColumnRef", func(n node) { use.names = append(use.names, lastName(n.list("fields"))) })
		b.list = append(b.list, use)
	}
	return b, nil
}

// missingBackfills reports required backfills that do not exist.
func (j *judge) missingBackfills() {
	if !j.backfills.known || j.direction != pgmigrate.DirectionUp {
		return
	}
	sql, statements := j.migration.Up, j.migration.Statements(j.direction)
	for _, name := range j.migration.RequiredBackfills() {
		if slices.ContainsFunc(j.backfills.list, func(b backfillUse) bool { return b.name == name }) {
			continue
		}
		line := "-- pgmigrate:requires-backfill " + name
		at := pgmigrate.Statement{SQL: line, Line: lineOf(sql, statements, max(0, strings.Index(sql, line)))}
		j.addAt(at, "backfill-missing", "requires the backfill "+name+", of which there is no file",
			"Write backfills/"+name+".sql, or delete the comment.")
	}
}

// needsBackfill reports a change of a column that must wait for a backfill, because the backfill
// fills the column or reads it.
func (j *judge) needsBackfill(table *relation, column, does string, fills bool) {
	for _, b := range j.backfills.list {
		columns := b.names
		if fills {
			columns = b.sets
		}
		version, required := j.backfills.required[b.name]
		if b.schema != table.Schema || b.table != table.Name || !slices.Contains(columns, column) ||
			j.direction != pgmigrate.DirectionUp || required && (version <= j.migration.Version || fills) {
			continue
		}
		j.add("backfill-gate", fmt.Sprintf("%s %s of %s, and nothing makes it wait for the backfill %s", does,
			quote(column), table, b.name), "-- pgmigrate:requires-backfill "+b.name)
	}
}

// unfilled reports NOT NULL on a column without a default that no backfill fills. It says nothing
// if a migration with a check names the column, or this one changes rows: then its author has
// thought of the rows.
func (j *judge) unfilled(table *relation, c column) {
	if !j.backfills.known || j.direction != pgmigrate.DirectionUp || !c.required() || j.wroteRows ||
		slices.ContainsFunc(j.backfills.checked, func(sql string) bool {
			return strings.Contains(sql, table.Name) && strings.Contains(sql, c.Name)
		}) ||
		slices.ContainsFunc(j.backfills.list, func(b backfillUse) bool {
			return b.schema == table.Schema && b.table == table.Name &&
				(len(b.sets) == 0 || slices.Contains(b.sets, c.Name))
		}) {
		return
	}
	j.add("not-null-unfilled", fmt.Sprintf("sets NOT NULL on %s of %s, which no backfill fills", quote(c.Name), table),
		fmt.Sprintf("If rows have no value, write backfills/%s_%s.sql, and in the migration before this one:\n"+
			"-- pgmigrate:requires-backfill %[1]s_%[2]s\nIf none has, let this one check that:\n"+
			"-- pgmigrate:check rows without %[2]s\nselect 1 from %[3]s where %[4]s is null limit 1;",
			table.Name, c.Name, table, quote(c.Name)))
}

// unusedBackfill reports a new column that a backfill fills although no migration waits for it.
func (j *judge) unusedBackfill(table *relation, column string) {
	for _, b := range j.backfills.list {
		_, required := j.backfills.required[b.name]
		if !required && b.schema == table.Schema && b.table == table.Name &&
			slices.Contains(b.sets, column) && j.direction == pgmigrate.DirectionUp {
			j.add("backfill-unused", fmt.Sprintf(
				"adds %s of %s, which the backfill %s fills, and no migration requires that",
				quote(column), table, b.name),
				"In the migration that relies on the values:\n-- pgmigrate:requires-backfill "+b.name)
		}
	}
}

// goneColumn is a column that has been dropped or renamed.
type goneColumn struct {
	table     uint32
	name      string
	statement pgmigrate.Statement
}

// triggersLeft reports triggers whose function still uses a column that is gone.
func (j *judge) triggersLeft(ctx context.Context, conn *pgx.Conn) error {
	for _, g := range j.gone {
		table := j.observer.relations[g.table]
		if table == nil || slices.ContainsFunc(sortedKeys(table.Columns), func(number string) bool {
			return table.Columns[number].Name == g.name
		}) {
			continue // the table is gone too, or another column has the name
		}
		uses := regexp.MustCompile(`(?i)\b(?:new|old)\s*\.\s*(?:"` +
			regexp.QuoteMeta(strings.ReplaceAll(g.name, `"`, `""`)) + `"|` + regexp.QuoteMeta(g.name) + `\b)`)
		rows, err := conn.Query(ctx, fmt.Sprintf(`select t.tgname::text, p.prosrc from pg_trigger t join pg_proc p
on p.oid = t.tgfoid join pg_language l on l.oid = p.prolang and l.lanname = 'plpgsql'
where t.tgrelid = %d and not t.tgisinternal and t.tgenabled <> 'D' order by 1`, g.table),
			pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			return err
		}
		var name, source string
		if _, err := pgx.ForEachRow(rows, []any{&name, &source}, func() error {
			if uses.MatchString(lineComment.ReplaceAllString(source, "")) {
				j.addAt(g.statement, "trigger-left", fmt.Sprintf(
					"the function of trigger %s of %s still uses %s, which is gone", quote(name), table, quote(g.name)),
					fmt.Sprintf("drop trigger %s on %s; -- first", quote(name), table))
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

var lineComment = regexp.MustCompile(`--[^\n]*`)
