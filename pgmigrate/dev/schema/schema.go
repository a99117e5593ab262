// Package schema compares two databases and says which SQL turns the one into the other.
//
// The table of contents of pg_dump's archive decides what differs: it lists each object with the
// statements that create and drop it, and with the objects that it depends on. pg-schema-diff knows
// how to change tables, columns, indexes, constraints, triggers and sequences without stopping an
// application, and is asked only for those. Statements for everything else, such as functions,
// types, policies, comments and grants, come from the archive.
package schema

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
)

// Options are what both sides of a comparison have in common. The zero value compares everything
// but the tables of tern and pgmigrate.
type Options struct {
	// VersionTable and HistorySchema are not compared. Default: pgmigrate's defaults.
	VersionTable, HistorySchema string

	// IgnoreRoles are roles whose grants, and whose ownership of objects, are not compared: those
	// that somebody else than the migrations takes care of.
	IgnoreRoles []string

	// NoOwners leaves out whom objects belong to.
	NoOwners bool

	// NoDump leaves pg_dump out, for a role that may not read every table: it locks them in the
	// mode of a SELECT.
	NoDump bool

	// IgnoreSchemas and IgnoreTables are not compared: another folder, or an extension, takes care
	// of them. A table's name may have its schema in front.
	IgnoreSchemas, IgnoreTables []string

	// Scratch makes an empty database, which Compare closes. PostgreSQL prints some expressions in
	// a form that it reads as another one, such as IN on a varchar column. Where a dump differs,
	// both schemas are made once more from their dumps, which brings both to the same form.
	// Defaults to none: then such a form counts as a difference.
	Scratch func(ctx context.Context) (Scratch, error)

	// NoConcurrently makes index statements that run in a transaction, and keep writers out while
	// they do.
	NoConcurrently bool
}

func (o Options) versionTable() (schema, table string) {
	name := o.VersionTable
	if name == "" {
		name = pgmigrate.DefaultVersionTable
	}
	return splitName(name)
}

// Scratch is a database that may be changed.
type Scratch interface {
	Config() *pgx.ConnConfig
	Exec(ctx context.Context, sql string) error
	Close() error
}

func splitName(name string) (schema, table string) {
	schema, table, ok := strings.Cut(name, ".")
	if !ok {
		return "public", schema
	}
	return schema, table
}

func (o Options) historySchema() string {
	if o.HistorySchema == "" {
		return pgmigrate.DefaultHistorySchema
	}
	return o.HistorySchema
}

// Database is one side of a comparison. It is read in read-only sessions and never changed.
type Database struct {
	Config *pgx.ConnConfig

	// Migrators are roles that run migrations there, besides the owner of the version table, or
	// without one the connection's role. What they own counts as owned by the one who migrates,
	// whatever the roles are called on the other side.
	Migrators []string

	// Dump is what [Read] found there, for who compares a database more than once. nil: it is read.
	Dump *Dump
}

// Difference is what Compare finds.
type Difference struct {
	// Structure are the statements of pg-schema-diff, in order.
	Structure []Statement

	// Objects are the differences between the dumps.
	Objects []Change

	// StructureError says why pg-schema-diff has no answer: what it does not know how to change, or
	// an invalid index.
	StructureError error

	// NoDump says why there was no dump to compare, "" if there was one. Without it comments,
	// domains, grants and all else that pg-schema-diff does not see were not compared.
	NoDump string

	// Notes are differences that are not counted, such as the version of an extension.
	Notes []string

	from, to *Dump
	parents  map[string]string // of partitions and their indexes
}

// Empty reports whether nothing differs, as far as was seen.
func (d *Difference) Empty() bool {
	return len(d.Structure) == 0 && len(d.Objects) == 0 && d.StructureError == nil
}

// Compare reads both databases and returns what has to be done to from so that it becomes to. It
// changes neither.
//
// The dumps decide whether anything differs; pg-schema-diff is asked only how to change what does.
// An error is returned where there is no answer, such as for a database that cannot be read.
func Compare(ctx context.Context, from, to Database, opts Options) (*Difference, error) {
	d := &Difference{}
	if opts.NoDump {
		d.NoDump = "it was asked for without pg_dump"
		return d, d.ask(ctx, from, to, opts)
	}
	opts, notes, err := recognize(ctx, from.Config, opts)
	if err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	d.Notes = notes
	fromDump, toDump, err := readBoth(ctx, from, to, opts)
	var missing *NoProgramError
	switch {
	case errors.As(err, &missing):
		d.NoDump = missing.Error()
		return d, d.ask(ctx, from, to, opts)
	case err != nil:
		return nil, err
	}
	live := from.Config
	d.from, d.to = fromDump, toDump
	d.Objects, d.parents = compareDumps(fromDump, toDump), parents(fromDump, toDump)
	if len(d.Objects) > 0 {
		settled, err := d.settle(ctx, &from, &to, fromDump, toDump, opts)
		defer settled()
		if err != nil {
			return nil, err
		}
	}
	if slices.ContainsFunc(d.Objects, func(c Change) bool { return c.Object().structural() }) {
		if err := d.ask(ctx, from, to, opts); err != nil {
			return nil, err
		}
		d.Structure = slices.DeleteFunc(d.Structure, d.mistaken)
	}
	invalid, err := invalidIndexes(ctx, live, opts)
	if err != nil {
		return nil, err
	}
	d.Structure = append(invalid, d.Structure...)
	return d, ctx.Err()
}

// ask lets pg-schema-diff say how to change what differs.
func (d *Difference) ask(ctx context.Context, from, to Database, opts Options) error {
	var notes []string
	d.Structure, notes, d.StructureError = structure(ctx, from.Config, to.Config, opts)
	d.Notes = append(d.Notes, notes...)
	if d.NoDump == "" && cannotRead(d.StructureError) { // which is no difference
		d.Notes = append(d.Notes, "compared by their dumps alone: "+d.StructureError.Error())
		d.StructureError = nil
	}
	if d.StructureError != nil && (d.NoDump != "" || ctx.Err() != nil || unreadable(d.StructureError)) {
		return fmt.Errorf("compare: %w", d.StructureError)
	}
	return nil
}

// settle makes both schemas once more from their dumps, and drops the changes that are in their
// form alone. From then on from and to are those databases, which done drops.
func (d *Difference) settle(
	ctx context.Context,
	from, to *Database,
	fromDump, toDump *Dump,
	opts Options,
) (done func(), err error) {
	var made []Scratch
	done = func() {
		for _, s := range made {
			s.Close() // what is left of it the next shadow sweeps
		}
	}
	if opts.Scratch == nil ||
		!slices.ContainsFunc(d.Objects, func(c Change) bool { return c.From != nil && c.To != nil }) {
		return done, nil
	}
	var sides [2]*Dump
	for i, dump := range []*Dump{fromDump, toDump} {
		scratch, err := opts.Scratch(ctx)
		if err != nil {
			return done, err
		}
		made = append(made, scratch)
		if err := scratch.Exec(ctx, dump.script(Object.settles)); err != nil {
			if ctx.Err() != nil {
				return done, context.Cause(ctx)
			}
			d.Notes = append(
				d.Notes,
				"expressions are compared as they are printed, because a dump does not load: "+err.Error(),
			)
			return done, nil
		}
		bare := opts
		bare.NoOwners = true
		if sides[i], err = Read(ctx, Database{Config: scratch.Config()}, bare); err != nil {
			return done, err
		}
	}
	fromByKey, toByKey := byKey(sides[0]), byKey(sides[1])
	d.Objects = slices.DeleteFunc(d.Objects, func(c Change) bool {
		if c.From == nil || c.To == nil || !c.To.settles() || !slices.Equal(c.From.owners(), c.To.owners()) {
			return false
		}
		f, t := fromByKey[c.From.key()], toByKey[c.To.key()]
		return f != nil && t != nil && f.canonical() == t.canonical()
	})
	from.Config, to.Config = made[0].Config(), made[1].Config()
	return done, nil
}

// settles reports whether the object is made again to see what the server makes of its text. Roles
// and comments are not its matter.
func (o Object) settles() bool {
	switch o.Type {
	case "ACL",
		"DEFAULT ACL",
		"COMMENT",
		"PUBLICATION",
		"PUBLICATION TABLE",
		"PUBLICATION TABLES IN SCHEMA",
		"EVENT TRIGGER":
		return false
	default:
		return true
	}
}

func (o Object) owners() []string {
	return slices.DeleteFunc(slices.Clone(o.SQL), func(sql string) bool { return !isOwner.MatchString(sql) })
}

// invalidIndexes returns statements that drop indexes whose building failed. pg_dump leaves them
// out.
func invalidIndexes(ctx context.Context, cfg *pgx.ConnConfig, opts Options) ([]Statement, error) {
	conn, err := pgx.ConnectConfig(ctx, readOnly(cfg))
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, `select format('%I.%I', nspname, relname)
		from pg_index i join pg_class c on c.oid = indexrelid join pg_namespace n on n.oid = relnamespace
		where not indisvalid and relkind = 'i' and nspname <> all($1) and nspname !~ '^pg_' order by 1`,
		append([]string{opts.historySchema()}, opts.IgnoreSchemas...))
	if err != nil {
		return nil, fmt.Errorf("read indexes: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read indexes: %w", err)
	}
	drop := "DROP INDEX CONCURRENTLY "
	if opts.NoConcurrently {
		drop = "DROP INDEX "
	}
	var list []Statement
	for _, name := range names {
		list = append(list, Statement{SQL: drop + name})
	}
	return list, nil
}
