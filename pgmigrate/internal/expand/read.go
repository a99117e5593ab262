package expand

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// plan is what the texts are made of. Names are quoted where they must be.
type plan struct {
	*facts
	opts    Options
	name    string // of the change
	table   string // with its schema
	new     []newColumn
	carried []carried // indexes and constraints that the new column gets too
	left    []string  // those that a person has to look at
	lost    []string  // statements that make those again
	notes   []string
	casts   bool // the new type takes the old one's values as they are
}

// newColumn is one that the change adds.
type newColumn struct {
	name, raw, typ string
	exact          bool
	value          string // what the backfill assigns
	typed          string // the same with the column's type, to compare with
}

// carried is an index or a constraint of the old column, and its likeness on the new one.
type carried struct {
	kind       string // i, or pg_constraint.contype
	old, name  string
	unique     bool
	rest       string // of an index
	definition string // of a constraint
	unchecked  bool   // the constraint is not valid, and stays so
	suffix     string // of a constraint that an index makes
	restore    string // makes the old one
}

func read(ctx context.Context, tx pgx.Tx, opts Options) (*plan, error) {
	r := &reader{ctx: ctx, tx: tx}
	f, err := r.facts(opts.Table, opts.Column)
	if err != nil {
		return nil, err
	}
	p := &plan{facts: f, opts: opts, table: f.Schema + "." + f.Table}
	r.copy = "pg_temp." + f.Table
	err = r.run("create temporary table " + r.copy + " (like " + p.table +
		" including indexes including constraints including generated)")
	if err != nil {
		return nil, fmt.Errorf("make a temporary copy of the table: %w", err)
	}
	before, err := r.indexes()
	if err != nil {
		return nil, err
	}
	switch opts.Kind {
	case Rename:
		err = p.readRename(r)
	case Type:
		err = p.readType(r)
	default:
		err = p.readSplit(r)
	}
	if err != nil {
		return nil, err
	}
	if err := p.nameIt(r); err != nil {
		return nil, err
	}
	if len(p.Triggers) > 0 {
		p.notes = append(p.notes, "the table has triggers that run before zz_"+p.name+
			", also for the backfill: see whether they suit both columns: "+strings.Join(p.Triggers, ", "))
	}
	if len(p.Others) > 0 {
		p.notes = append(p.notes, "change what depends on the old column before the contract, and triggers on it "+
			"before the new version of the service runs: "+strings.Join(p.Others, ", "))
	}
	return p, p.carry(r, before)
}

// nameIt finds the name of the change and checks that nothing has it.
func (p *plan) nameIt(r *reader) error {
	p.name = p.opts.Name
	if p.name == "" {
		to := p.new[0].raw
		if p.opts.Kind != Rename {
			to = p.RawColumn
		}
		p.name = defaultName(p.RawTable, to)
	}
	if len(p.name) > maxName || !goodName.MatchString(p.name) {
		return fmt.Errorf("the name %q: give one of at most %d lower-case letters, digits and _", p.name, maxName)
	}
	taken, err := r.text(`select coalesce(
  (select 'function' from pg_proc where proname = $1 and pronamespace = n.oid limit 1),
  (select 'trigger' from pg_trigger where tgname = 'zz_' || $1 and tgrelid = c.oid), '')
from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $2 and c.relname = $3`,
		p.name, p.RawSchema, p.RawTable)
	if err == nil && taken != "" {
		err = fmt.Errorf("there is a %s of the name %s: give another name", taken, p.name)
	}
	return err
}

// column adds one to the copy and reads how the catalog writes its type.
func (p *plan) column(r *reader, raw, name, typ string) (newColumn, error) {
	c := newColumn{raw: raw, name: name}
	if exists, err := r.text("select count(*)::text from pg_attribute where attrelid = $1::regclass and attname = $2",
		r.copy, raw); err != nil || exists != "0" {
		return c, errors.Join(err, fmt.Errorf("the table has a column %s already", name))
	}
	if typ != "" {
		if err := r.run("select null::" + bare(typ)); err != nil {
			return c, fmt.Errorf("type %s: %s", typ, message(err))
		}
		if err := r.run("alter table " + r.copy + " add column " + name + " " + typ); err != nil {
			return c, fmt.Errorf("type %s: %s", typ, message(err))
		}
	}
	return c, nil
}

// describe reads type and exactness of a column of the copy.
func (r *reader) describe(c *newColumn) error {
	var hasDefault bool
	err := r.tx.QueryRow(r.ctx, `select format_type(a.atttypid, a.atttypmod) || case
  when a.attcollation <> t.typcollation
  then (select format(' collate %I.%I', n.nspname, l.collname) from pg_collation l join pg_namespace n
    on n.oid = l.collnamespace where l.oid = a.attcollation) else '' end, `+
		strings.ReplaceAll(exact, "a.typtype", "t.typtype")+`, t.typdefault is not null
from pg_attribute a join pg_type t on t.oid = a.atttypid where a.attrelid = $1::regclass and a.attname = $2`,
		pgx.QueryExecModeExec, r.copy, c.raw).Scan(&c.typ, &c.exact, &hasDefault)
	if err == nil && hasDefault {
		err = fmt.Errorf("the type %s has a default, which the new column would have instead of the old one's value: "+
			"give it to the columns and drop it from the type", c.typ)
	}
	return err
}

// bare returns a type without its collation.
func bare(typ string) string {
	typ, _, _ = strings.Cut(typ, " collate ")
	return typ
}

func (p *plan) readRename(r *reader) error {
	raw, name, err := r.identifier(p.opts.To[0])
	if err != nil {
		return err
	}
	c, err := p.column(r, raw, name, "")
	if err != nil {
		return err
	}
	if err := r.run("select null::" + p.Type); err != nil {
		return fmt.Errorf("a column of type %s cannot be added without values: %s", p.Type, message(err))
	}
	if err := r.run("alter table " + r.copy + " rename column " + p.Column + " to " + name); err != nil {
		return err
	}
	c.value, c.typed = p.Column, p.Column
	p.new, p.casts = []newColumn{c}, true
	return r.describe(&p.new[0])
}

func (p *plan) readType(r *reader) error {
	if _, err := p.column(r, p.RawColumn+"_old", p.kept(), ""); err != nil {
		return err
	}
	raw, name, err := r.identifier(`"` + strings.ReplaceAll(p.RawColumn+"_new", `"`, `""`) + `"`)
	if err != nil {
		return err
	}
	if raw != p.RawColumn+"_new" { // cut by the server
		return fmt.Errorf("%s: the name is too long for a second column beside it", p.Column)
	}
	c, err := p.column(r, raw, name, p.opts.Type)
	if err != nil {
		return err
	}
	if p.Collate != "" { // it stays, if the new type has one
		_ = r.run("alter table " + r.copy + " alter column " + name + " type " + p.opts.Type + p.Collate)
	}
	if err := r.describe(&c); err != nil {
		return err
	}
	if c.typ == p.Type+p.Collate {
		return fmt.Errorf("%s is of type %s already", p.Column, c.typ)
	}
	p.casts = r.run("update "+r.copy+" set "+name+" = "+p.Column) == nil
	switch {
	case p.opts.Using != "":
		c.value = "(" + p.opts.Using + ")"
	case p.casts:
		c.value = p.Column
	default:
		c.value = p.Column + "::" + bare(c.typ)
	}
	if err := r.run("update " + r.copy + " set " + name + " = " + c.value); err != nil {
		return fmt.Errorf("the value as %s: %s. Give the new value as --using EXPRESSION", c.typ, message(err))
	}
	c.typed = c.value + "::" + bare(c.typ)
	if err := r.judge(c.typed, "--using", p.RawColumn); err != nil {
		return err
	}
	set := "update " + r.copy + " set " + p.Column + " = " + name
	if p.opts.Back == "" && r.run(set) != nil && r.run(set+"::"+p.Type) == nil {
		p.opts.Back = p.Column + "::" + p.Type // without the cast a trigger would convert text
	}
	file := "select pg_relation_filenode($1::regclass)::text"
	was, err := r.text(file, r.copy)
	if err != nil {
		return err
	}
	if err := r.run("alter table " + r.copy + " drop column " + name + "; alter table " + r.copy + " alter column " +
		p.Column + " type " + c.typ + " using " + c.value); err != nil {
		return fmt.Errorf("the indexes and constraints with the type %s: %s", c.typ, message(err))
	}
	if now, err := r.text(file, r.copy); err != nil {
		return err
	} else if now == was && p.opts.Using == "" {
		p.notes = append(p.notes, "PostgreSQL can change this type without writing the rows: see whether alter table "+
			p.table+" alter column "+p.Column+" type "+c.typ+" is enough")
	}
	if p.opts.Back != "" {
		if err := r.judge("("+p.opts.Back+")::"+p.Type, "--back", p.RawColumn); err != nil {
			return err
		}
	}
	p.new = []newColumn{c}
	return r.run("alter table " + r.copy + " rename column " + p.Column + " to " + name)
}

func (p *plan) readSplit(r *reader) error {
	var raws []string
	for _, to := range p.opts.To {
		name, value := cutColumn(to)
		raw, quoted, err := r.identifier(name)
		if err != nil {
			return err
		}
		if value == "" {
			return fmt.Errorf("column %s: give its value as %s=EXPRESSION", name, name)
		}
		c, err := p.column(r, raw, quoted, "")
		if err != nil {
			return err
		}
		c.value = "(" + value + ")"
		if err := r.judge(c.value, "--to", p.RawColumn); err != nil {
			return err
		}
		p.new, raws = append(p.new, c), append(raws, raw)
	}
	for i := range p.new {
		c := &p.new[i]
		if err := r.run("create temporary table pgmigrate_types as select " + c.value + " as " + c.name + " from " +
			r.copy + " with no data"); err != nil {
			return fmt.Errorf("column %s: %s", c.name, message(err))
		}
		from := reader{r.ctx, r.tx, "pg_temp.pgmigrate_types"}
		if err := from.describe(c); err != nil {
			return err
		}
		if err := r.run("drop table pg_temp.pgmigrate_types"); err != nil {
			return err
		}
		c.typed = c.value + "::" + bare(c.typ)
	}
	for _, c := range p.new {
		if _, err := p.column(r, c.raw, c.name, c.typ); err != nil {
			return err
		}
	}
	if err := r.run("update " + r.copy + " set " + p.Column + " = (" + p.opts.Back + ")"); err != nil {
		return fmt.Errorf("--back: %s", message(err))
	}
	return r.judge("("+p.opts.Back+")", "--back", raws...)
}

// judge refuses an expression that other sessions may compute otherwise, or that reads other
// columns: the trigger would not see them change. The values of an enum are the same in all
// sessions, though PostgreSQL does not call them immutable.
func (r *reader) judge(expression, flag string, columns ...string) error {
	const view = "pg_temp.pgmigrate_expression"
	if err := r.run("create view " + view + " as select (" + expression + ") as value from " + r.copy); err != nil {
		return fmt.Errorf("%s: %s", expression, message(err))
	}
	enums, err := r.text(`select count(*)::text
from pg_attribute a join pg_type t on t.oid = a.atttypid and t.typtype = 'e'
where a.attrelid = $1::regclass or a.attrelid = $2::regclass and a.attname = any ($3)`, view, r.copy, columns)
	if err != nil {
		return err
	}
	err = r.run("create index pgmigrate_immutable on " + r.copy + " (((" + expression + ") is null))")
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "42P17" && enums == "0" {
		return fmt.Errorf("%s depends on settings of the session, such as TimeZone, or changes from call to call: "+
			"give %s EXPRESSION with immutable functions", expression, flag)
	}
	used, err := r.list(`select distinct a.attname 
from pg_depend d join pg_rewrite w on w.oid = d.objid join pg_attribute a on a.attrelid = d.refobjid
and a.attnum = d.refobjsubid where d.classid = 'pg_rewrite'::regclass
and w.ev_class = $1::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = $2::regclass`, view, r.copy)
	if err != nil {
		return err
	}
	for _, name := range used {
		if !slices.Contains(columns, name) {
			return fmt.Errorf("%s reads the column %s: it may only read %s", expression, name,
				strings.Join(columns, ", "))
		}
	}
	return r.run("drop view " + view + "; drop index if exists pg_temp.pgmigrate_immutable")
}
