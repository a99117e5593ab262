// Package schema compares two databases and says which SQL turns the one into the other.
//
// Two readers look, because each is blind where the other sees. pg-schema-diff reads the catalog
// and knows how to change tables, columns, indexes, constraints, views, functions, triggers, enums,
// sequences and policies without stopping an application. It does not see comments, domains,
// composite types, rules, aggregates, statistics, publications, grants other than on tables,
// owners, storage parameters, UNLOGGED, disabled triggers and more. pg_dump sees all of that and
// knows nothing about change: its dumps are cut into objects and compared object by object, and
// what is missing is taken from the dump as it is.
package schema

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

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

	// DumpDecides skips pg-schema-diff where the dumps are the same. That suits databases that
	// nobody but migrations touches: what it sees beyond a dump is an index whose building failed,
	// and the version of an extension.
	DumpDecides bool

	// NoConcurrently makes index statements that run in a transaction, and keep writers out while
	// they do.
	NoConcurrently bool
}

func (o Options) versionTable() (schema, table string) {
	name := o.VersionTable
	if name == "" {
		name = pgmigrate.DefaultVersionTable
	}
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

	parents map[string]string // of partitions and their indexes
}

// Empty reports whether nothing differs, as far as was seen.
func (d *Difference) Empty() bool {
	return len(d.Structure) == 0 && len(d.Objects) == 0 && d.StructureError == nil
}

// Compare reads both databases and returns what has to be done to from so that it becomes to. It
// blocks for a second or so per hundred tables, and changes nothing.
//
// A difference that only one reader can see is a difference. An error is returned only where there
// is no answer: a database that cannot be read, or neither reader could.
func Compare(ctx context.Context, from, to Database, opts Options) (*Difference, error) {
	d := Difference{}
	var (
		wg                sync.WaitGroup
		structureDiff     []Statement
		structureNotes    []string
		structureError    error
		ctxEnd, cancelAll = context.WithCancelCause(ctx)
	)
	defer cancelAll(nil)
	ask := func() {
		structureDiff, structureNotes, structureError = structure(ctxEnd, from.Config, to.Config, opts)
	}
	if !opts.DumpDecides {
		wg.Go(ask)
	}
	err := d.dumps(ctxEnd, from, to, opts)
	if err != nil {
		cancelAll(err)
	}
	wg.Wait()
	if err != nil {
		return nil, err
	}
	if opts.DumpDecides {
		if d.NoDump == "" && len(d.Objects) == 0 {
			return &d, nil
		}
		ask()
	}
	d.Structure, d.Notes, d.StructureError = structureDiff, structureNotes, structureError
	if d.NoDump == "" {
		d.Structure = slices.DeleteFunc(d.Structure, d.mistaken)
		if cannotRead(d.StructureError) { // which is no difference
			d.Notes = append(d.Notes, "compared by their dumps alone: "+d.StructureError.Error())
			d.StructureError = nil
		}
	}
	if d.StructureError != nil && (d.NoDump != "" || ctx.Err() != nil || unreadable(d.StructureError)) {
		return nil, fmt.Errorf("compare: %w", d.StructureError)
	}
	return &d, nil
}

// dumps reads and compares the dumps, one after the other: two cores are enough for that and
// pg-schema-diff.
func (d *Difference) dumps(ctx context.Context, from, to Database, opts Options) error {
	if opts.NoDump {
		d.NoDump = "it was asked for without pg_dump"
		return nil
	}
	fromDump, toDump, err := readBoth(ctx, from, to, opts)
	var missing *NoProgramError
	switch {
	case errors.As(err, &missing):
		d.NoDump = missing.Error()
	case err != nil:
		return err
	default:
		d.Objects, d.parents = compareDumps(fromDump, toDump), parents(fromDump, toDump)
	}
	return nil
}
