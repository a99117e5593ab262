package pgquery

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/jackc/pgx/v5"
)

// Patch declares an update of one row that sets only the given columns. A is a struct of arguments,
// R a struct that receives the row. Arguments are named as in a [List].
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

	// Version is an integer column that each update increments. The field of the same name in A
	// holds the version that the caller saw. Without it the last write wins. Defaults to "".
	Version string

	// Returning lists the columns of the row after the update, which are the fields of R.
	Returning string

	once  sync.Once
	patch *patch
}

// Apply updates the row and returns it. If no column is given, it only reads the row, but still
// compares the version.
//
// The error wraps [pgx.ErrNoRows] if Where finds no row. It is a [ChangedError] if the row has
// another version, which takes a second query to find out. It wraps [pgx.ErrTooManyRows] if Where
// found several rows; they were updated, so roll back.
//
// A missing argument, or null for a column that refuses it, is an [ArgumentError]. Then nothing was
// sent.
func (p *Patch[A, R]) Apply(ctx context.Context, db DB, args A) (R, error) {
	var none R
	c, err := p.compiled()
	if err != nil {
		return none, err
	}
	given := reflect.ValueOf(&args).Elem()
	t := c.texts.get(c.given(given), c.build)
	values, err := c.bind(nil, t, given, nil)
	if err != nil {
		return none, err
	}
	rows, err := run[R](ctx, db, c.compiler, t, values, 1)
	switch {
	case err != nil:
		return none, err
	case len(rows) == 0:
		return none, c.conflict(ctx, db, given)
	case len(rows) > 1:
		return none, c.wrap(pgx.ErrTooManyRows)
	}
	return rows[0], nil
}

// conflict returns why no row was found: it does not exist, or has another version.
func (p *patch) conflict(ctx context.Context, db DB, args reflect.Value) error {
	if p.look == nil {
		return p.wrap(pgx.ErrNoRows)
	}
	values, err := p.bind(nil, p.look, args, nil)
	if err != nil {
		return err
	}
	rows, err := db.Query(ctx, p.look.SQL, values...)
	if err != nil {
		return p.wrap(err)
	}
	version, err := pgx.CollectOneRow(rows, pgx.RowTo[any])
	if err != nil {
		return p.wrap(err)
	}
	if seen, _ := p.fields[p.seen].read(args); fmt.Sprint(seen) == fmt.Sprint(version) {
		return p.wrap(errors.New("the row has the version that was given, and was not updated: a trigger or a policy " +
			"of the table prevents it"))
	}
	return &ChangedError{Patch: p.name, Version: version}
}
