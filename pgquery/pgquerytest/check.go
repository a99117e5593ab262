// Package pgquerytest checks the declarations of package pgquery on a migrated database, in a test.
package pgquerytest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgquery/internal/decl"
)

// Declaration is a pointer to a [pgquery.List], [pgquery.Patch], [pgquery.Relation] or
// [pgquery.Insert], or a list with [Indexed] or [Unique].
type Declaration interface {
	Declaration() *decl.Declaration
}

// Indexed requires that an index finds the rows after a cursor of the list's sort, with the filters
// on. Each column of the keyset must be in an Index Cond. Only rows within a limit may be sorted.
func Indexed(list Declaration, sort string, filters ...string) Declaration {
	return &indexed{list, sort, filters}
}

type indexed struct {
	list    Declaration
	sort    string
	filters []string
}

// Declaration returns the list's declaration.
func (i *indexed) Declaration() *decl.Declaration { return i.list.Declaration() }

// Unique says that rows of the list never tie in the sort. Use it if the planner cannot prove that:
// for a materialized WITH, unnest WITH ORDINALITY, or a column with a collation for which different
// texts are equal.
func Unique(list Declaration, sort string) Declaration { return &unique{list, sort} }

type unique struct {
	list Declaration
	sort string
}

// Declaration returns the list's declaration.
func (u *unique) Declaration() *decl.Declaration { return u.list.Declaration() }

// maxTexts limits how many texts of a list Check prepares. Each takes the server a fraction of a
// millisecond.
const maxTexts = 2000

// textMemory is the memory of a prepared text in the server, for each connection that has used it:
// 40 to 48 KiB, measured on PostgreSQL 15 with five columns and one join.
const textMemory = 44 << 10

// Check prepares the texts of each declaration on a database with the schema. It fails t for each
// mistake, with the line of the declaration. It works in a transaction that it rolls back. db is a
// *pgxpool.Pool, *pgx.Conn or pgx.Tx.
//
// For a list it prepares every sort, forward and backward, with no filter, each filter, each pair
// and all of them, up to 2,000 texts. It compares columns with the fields of the row by name, type
// and nullability, and arguments by type. It requires an argument in Where, a unique end for each
// sort, and no join that returns a row twice. It logs the number and the cost of the texts.
//
// For a relation or an insert it prepares the one text and compares the columns. The columns of an
// insert must fit the table's, and include those that are not null and have no default.
//
// For a patch it prepares the texts for no column, each column, each pair and all of them. Where
// must compare all columns of a unique index, so that it finds one row. Fields of columns that
// refuse null must have notnull.
func Check(t testing.TB, db interface {
	Begin(context.Context) (pgx.Tx, error)
}, declarations ...Declaration,
) {
	t.Helper()
	ctx := t.Context()
	tx, err := db.Begin(ctx)
	if err != nil {
		t.Fatalf("pgquerytest: begin: %v", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	// A generic plan shows parameters as parameters. On empty tables the planner would otherwise
	// sort and scan despite an index.
	_, err = tx.Exec(ctx, `set local plan_cache_mode = force_generic_plan; set local enable_seqscan = off;
		set local enable_sort = off; set local enable_bitmapscan = off; set local enable_incremental_sort = off;
		set local constraint_exclusion = on; -- which proves that a column is not null
		set local enable_partition_pruning = off; -- which is done for the values of EXECUTE
		savepoint pgquerytest`)
	if err != nil {
		t.Fatalf("pgquerytest: prepare the transaction: %v", err)
	}
	types := &catalog{ctx: ctx, tx: tx, types: map[uint32]*dataType{}, tables: map[string]*table{}}
	names, trusted := map[string]bool{}, map[string]bool{}
	for _, d := range declarations {
		if u, ok := d.(*unique); ok {
			trusted[u.Declaration().Name+" "+u.sort] = true
		}
	}
	for _, d := range declarations {
		if _, ok := d.(*unique); ok {
			continue
		}
		c := &checker{
			TB: t, ctx: ctx, tx: tx, catalog: types, d: d.Declaration(), failed: map[string]bool{},
			args: map[int]*dataType{}, trusted: trusted,
		}
		i, isIndexed := d.(*indexed)
		if names[c.d.Name] && !isIndexed {
			c.fail("Name", "another declaration has it too")
		}
		names[c.d.Name] = names[c.d.Name] || !isIndexed
		for _, p := range c.d.Problems {
			c.fail(p.Piece, "%s", p.Text)
		}
		switch {
		case len(c.d.Problems) > 0:
		case isIndexed:
			c.indexed(i)
		case c.d.List != nil:
			c.list()
		case c.d.Patch != nil:
			c.patch()
		default:
			if d := c.try("Select", c.d.Text); d != nil {
				c.columns("Select", c.d.Text, d, c.explain(len(d.ParamOIDs)))
				if c.d.Insert != nil {
					c.insert()
				}
			}
		}
	}
}

// checker checks one declaration.
type checker struct {
	testing.TB
	ctx     context.Context
	tx      pgx.Tx
	catalog *catalog
	d       *decl.Declaration
	failed  map[string]bool
	args    map[int]*dataType // the types that the server found
	texts   int
	trusted map[string]bool // lists and sorts declared Unique
}

// fail reports a mistake once.
func (c *checker) fail(piece, format string, args ...any) {
	c.Helper()
	message := fmt.Sprintf("%s %s: %s: %s", c.d.Kind, c.d.Name, piece, fmt.Sprintf(format, args...))
	if c.failed[message] {
		return
	}
	c.failed[message] = true
	c.Errorf("%s%s", line(c.d, piece), message)
}

const statement = "pgquerytest"

// prepare prepares a text. Its description is valid until the next one is prepared.
func (c *checker) prepare(t *decl.Text) (*pgconn.StatementDescription, error) {
	c.texts++
	if err := c.tx.Conn().Deallocate(c.ctx, statement); err != nil {
		return nil, err
	}
	d, err := c.tx.Prepare(c.ctx, statement, t.SQL)
	if err == nil {
		return d, nil
	}
	if _, rollback := c.tx.Exec(c.ctx, "rollback to pgquerytest"); rollback != nil {
		c.Fatalf("pgquerytest: %v", errors.Join(err, rollback))
	}
	return nil, err
}

// try prepares a text, and fails the test at the piece if the server refuses it.
func (c *checker) try(piece string, t *decl.Text) *pgconn.StatementDescription {
	c.Helper()
	d, err := c.prepare(t)
	if err != nil {
		c.fail(piece, "the server refuses it: %s", describe(err, t.SQL))
		return nil
	}
	c.arguments(t, d)
	return d
}

// describe returns the server's message with the text around the position of the error.
func describe(err error, sql string) string {
	e := (*pgconn.PgError)(nil)
	if !errors.As(err, &e) {
		return err.Error()
	}
	message := e.Message + " (" + e.Code + ")"
	if runes := []rune(sql); e.Position > 0 && int(e.Position) <= len(runes) {
		at := int(e.Position) - 1
		near := string(runes[at:min(len(runes), at+40)])
		message += " at: " + strings.Join(strings.Fields(near), " ")
	}
	if e.Hint != "" {
		message += ". " + e.Hint
	}
	return message
}

// arguments compares the types that the server found with the types in other texts and in the
// struct.
func (c *checker) arguments(t *decl.Text, d *pgconn.StatementDescription) {
	c.Helper()
	for i, oid := range d.ParamOIDs {
		if i >= len(t.Params) || t.Params[i].Arg < 0 {
			continue
		}
		at := t.Params[i].Arg
		piece := "argument @" + c.d.Args[at].Name
		typ := c.catalog.typ(oid)
		if known := c.args[at]; known == nil {
			if problem := c.catalog.argument(typ, c.d.Args[at].Type); problem != "" {
				c.fail(piece, "%s", problem)
			}
		} else if known.oid != typ.oid {
			c.fail(piece, "is %s in one place and %s in another: cast it, as in @%s::%s",
				known.name, typ.name, c.d.Args[at].Name, typ.name)
			continue
		}
		c.args[at] = typ
	}
}

// columns compares the columns of a result with the fields of the row.
func (c *checker) columns(piece string, t *decl.Text, d *pgconn.StatementDescription, p *node) {
	c.Helper()
	found := map[int]bool{}
	var unknown []string
	for i, f := range d.Fields {
		at := c.d.Named(f.Name)
		switch {
		case at < 0:
			c.fail(piece, "column %q has no field in the row struct", f.Name)
			continue
		case found[at]:
			c.fail(piece, "column %q occurs twice", f.Name)
		}
		found[at] = true
		field := c.d.Row[at]
		if problem := c.catalog.result(c.catalog.typ(f.DataTypeOID), field.Type); problem != "" {
			c.fail(piece, "column %q: %s", f.Name, problem)
		}
		if field.Nullable || i < len(p.Output) && p.Output[i] == c.d.Key {
			continue
		}
		why, known := c.nullable(p, i, field.Embedded)
		if why != "" && !c.excludesNull(t, f.Name) {
			c.fail(piece, "column %q may be null: %s; its field must be a pointer or an Optional", f.Name, why)
		}
		if !known {
			unknown = append(unknown, f.Name)
		}
	}
	for i, field := range c.d.Row {
		if !found[i] {
			c.fail(piece, "field %s of the row struct has no column", field.Name)
		}
	}
	if len(unknown) > 0 {
		c.Logf("%s %s: whether these expressions may be null is not known, and their fields are plain: %s",
			c.d.Kind, c.d.Name, strings.Join(unknown, ", "))
	}
	if p.has("LockRows") {
		c.fail(piece, "locks every row that it looks at: FOR UPDATE does not belong here")
	}
	if c.d.List != nil && p.has("WindowAgg") {
		c.fail(piece, "a window function looks at all rows for each page: count or rank in a query of its own")
	}
}
