// Package schema compares two databases and returns the SQL that turns one into the other.
//
// It compares the tables of contents of two archives of pg_dump. They list each object with the
// statements that create and drop it, in an order in which all can be created. The catalogs show
// which columns and checks a table has, and which object depends on which.
package schema

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
)

// Options applies to both sides of a comparison. The zero value compares everything except the
// tables of tern and pgmigrate.
type Options struct {
	// VersionTable and HistorySchema are not compared. Defaults to pgmigrate's defaults.
	VersionTable, HistorySchema string

	// IgnoreRoles are roles that the migrations do not manage. Their grants and the owners among
	// them are not compared.
	IgnoreRoles []string

	// NoOwners leaves out the owners of objects.
	NoOwners bool

	// IgnoreSchemas and IgnoreTables are not compared, because another folder or an extension
	// manages them. A table's name may begin with its schema.
	IgnoreSchemas, IgnoreTables []string

	// Scratch makes an empty database, which Compare closes. PostgreSQL prints some expressions,
	// such as IN on a varchar column, in a form that it reads differently. If the dumps differ,
	// Compare restores both on scratch databases, which brings them to the same form. Without
	// Scratch such a form counts as a difference. Defaults to none.
	Scratch func(ctx context.Context) (Scratch, error)
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

	// Migrators are roles that run migrations there, in addition to the owner of the version table,
	// or the connection's role if there is no such table. They all count as the same role, whatever
	// their names are on the other side.
	Migrators []string

	// Dump is the result of [Read], for a caller that compares a database more than once.
	// Defaults to none: Compare reads the database.
	Dump *Dump
}

// Difference is the result of Compare.
type Difference struct {
	// Objects are the differences between the dumps.
	Objects []Change

	// Notes are differences that are not counted.
	Notes []string

	invalid  []Statement // statements that drop indexes with a failed build
	from, to *Dump
}

// Empty reports whether nothing differs.
func (d *Difference) Empty() bool { return len(d.Objects) == 0 && len(d.invalid) == 0 }

// Compare reads both databases and returns how from differs from to. It changes neither. It returns
// an error if it cannot read a database, and a *[NoProgramError] if there is no pg_dump.
func Compare(ctx context.Context, from, to Database, opts Options) (*Difference, error) {
	d := &Difference{}
	opts, notes, err := recognize(ctx, from.Config, opts)
	if err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	d.Notes = notes
	if d.from, d.to, err = readBoth(ctx, from, to, opts); err != nil {
		return nil, err
	}
	d.Objects = compareDumps(d.from, d.to)
	if len(d.Objects) > 0 {
		if err := d.settle(ctx, opts); err != nil {
			return nil, err
		}
	}
	if len(d.Objects) > 0 {
		if err := d.readCatalogs(ctx, from, to); err != nil {
			return nil, err
		}
	}
	if d.invalid, err = invalidIndexes(ctx, from.Config, opts); err != nil {
		return nil, err
	}
	return d, ctx.Err()
}

func (d *Difference) readCatalogs(ctx context.Context, from, to Database) (err error) {
	if d.from.catalog == nil {
		if d.from.catalog, err = readCatalog(ctx, from.Config); err != nil {
			return err
		}
	}
	if d.to.catalog == nil {
		d.to.catalog, err = readCatalog(ctx, to.Config)
	}
	return err
}

// settle restores both schemas from their dumps and drops changes that differ only in form.
func (d *Difference) settle(ctx context.Context, opts Options) error {
	if opts.Scratch == nil || !slices.ContainsFunc(d.Objects, Change.maySettle) {
		return nil
	}
	var sides [2]*Dump
	for i, dump := range []*Dump{d.from, d.to} {
		scratch, err := opts.Scratch(ctx)
		if err != nil {
			return err
		}
		defer scratch.Close() // the next shadow sweeps leftovers
		if err := scratch.Exec(ctx, dump.script(Object.settles)); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			d.Notes = append(
				d.Notes,
				"expressions are compared as they are printed, because a dump does not load: "+err.Error(),
			)
			return nil
		}
		bare := opts
		bare.NoOwners = true
		if sides[i], err = Read(ctx, Database{Config: scratch.Config()}, bare); err != nil {
			return err
		}
	}
	fromByKey, toByKey := byKey(sides[0]), byKey(sides[1])
	d.Objects = slices.DeleteFunc(d.Objects, func(c Change) bool {
		if !c.maySettle() || !slices.Equal(c.From.owners(), c.To.owners()) {
			return false
		}
		f, t := fromByKey[c.From.key()], toByKey[c.To.key()]
		return f != nil && t != nil && f.canonical() == t.canonical()
	})
	return nil
}

// maySettle reports whether both sides have the object in forms that may mean the same. Two forms
// of an expression have the same number of lines, while an extra column is an extra line.
func (c Change) maySettle() bool {
	return c.From != nil && c.To != nil && c.To.settles() &&
		strings.Count(c.From.canonical(), "\n") == strings.Count(c.To.canonical(), "\n")
}

// settles reports whether to restore the object to see how the server prints it. Roles and comments
// always print the same.
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

// invalidIndexes returns statements that drop indexes with a failed build. pg_dump leaves them out.
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
	var list []Statement
	for _, name := range names {
		list = append(list, Statement{SQL: "DROP INDEX CONCURRENTLY " + name})
	}
	return list, nil
}
