package pgquery

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/jackc/pgx/v5"
)

// Patch declares an update of one row that sets only the columns that are given. A is a struct of
// arguments, R a struct that receives the row. Arguments are named as in a [List].
//
// A Patch is safe for concurrent use and must not be changed or copied after its first use.
type Patch[A, R any] struct {
	// Name is a word that identifies the patch in traces, by the comment that sqlc writes too.
	Name string

	// Table is the table's name, with its schema if need be.
	Table string

	// Where is a condition that finds one row, and guards access to it. Its arguments cannot be
	// left out.
	Where string

	// Columns may be set. Each has a field of the same name in A, which is an [Optional]: an absent
	// one leaves the column alone. A column that is not null has a field with the tag
	// `db:"name,notnull"`, which refuses null before anything is sent.
	Columns []string

	// Always is set by each update too: "updated_at = now()". Defaults to nothing.
	Always string

	// Version is an integer column that each update increments, and that a field of the same name
	// in A says the caller saw. Defaults to "": the last one to write wins.
	Version string

	// Returning are the columns of the row, as it is then. They are the fields of R.
	Returning string

	once  sync.Once
	patch *patch
}

// Apply updates the row and returns it. If no column is given, it only reads the row, and compares
// the version all the same.
//
// The error wraps [pgx.ErrNoRows] if Where finds no row. It is a [ChangedError] if the row has
// another version; a second query finds that out. It wraps [pgx.ErrTooManyRows] if Where found more
// than one row: these were updated, so roll back. A missing argument, or null for a column that
// refuses it, is an [ArgumentError], and nothing was sent.
func (p *Patch[A, R]) Apply(ctx context.Context, db DB, args A) (R, error) {
	var row R
	c, err := p.compiled()
	if err != nil {
		return row, err
	}
	values := reflect.ValueOf(&args).Elem()
	found, err := query[R](ctx, db, c, c.texts.get(c.given(values), c.build), values)
	if err != nil {
		return row, err
	}
	switch len(found) {
	case 0:
		return row, c.conflict(ctx, db, values)
	case 1:
		return found[0], nil
	}
	return row, c.wrap(pgx.ErrTooManyRows)
}

func query[R any](ctx context.Context, db DB, c *patch, t *text, args reflect.Value) ([]R, error) {
	values, err := c.bind(t, args)
	if err != nil {
		return nil, err
	}
	rows, err := db.Query(ctx, t.sql, values...)
	if err != nil {
		return nil, c.wrap(err)
	}
	found, err := collect(c.scan, rows, make([]R, 0, 1))
	if err != nil {
		return nil, c.wrap(err)
	}
	return found, nil
}

// conflict returns why no row was found: it is gone, or has another version.
func (c *patch) conflict(ctx context.Context, db DB, args reflect.Value) error {
	if c.version == "" {
		return c.wrap(pgx.ErrNoRows)
	}
	values, err := c.bind(c.look, args)
	if err != nil {
		return err
	}
	rows, err := db.Query(ctx, c.look.sql, values...)
	if err != nil {
		return c.wrap(err)
	}
	version, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[any])
	switch {
	case err == nil:
		return &ChangedError{Patch: c.name, Version: version}
	case errors.Is(err, pgx.ErrNoRows):
		return c.wrap(pgx.ErrNoRows)
	}
	return c.wrap(err)
}

func (c *patch) wrap(err error) error { return fmt.Errorf("pgquery: patch %s: %w", c.name, err) }

func (p *Patch[A, R]) compiled() (*patch, error) {
	p.once.Do(func() {
		p.patch = compilePatch(p.Name, reflect.TypeFor[A](), reflect.TypeFor[R](), &patchTexts{
			table: p.Table, where: p.Where, always: p.Always, version: p.Version, returning: p.Returning,
			columns: p.Columns,
		})
	})
	return p.patch, p.patch.err
}
