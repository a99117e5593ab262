// Package pgquery builds queries from declared pieces of SQL: lists with filters, sorts and keyset
// pages, partial updates, relations without n + 1, and inserts of many rows.
//
// Only declared SQL is ever sent. Package pgquerytest checks every declaration on a migrated
// database.
package pgquery

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgquery/internal/decl"
)

// DB is the part of a database that a list or a patch uses. *pgxpool.Pool, *pgx.Conn, pgx.Tx, the
// result of pgtx.Querier, and sqlc's DBTX implement it.
type DB interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Filters are conditions by name. See [List].
type Filters map[string]string

// Sorts are orders by name. See [List].
type Sorts map[string]string

// List declares a query for which the caller chooses filters, order and page. A is a struct of
// arguments, R a struct that receives a row.
//
// The texts name arguments with an @: @site is the field Site of A, or the one with the tag
// `db:"site"`. Without a tag, case and underscores do not matter. Only declared SQL is sent, with
// values as parameters.
//
// A List is safe for concurrent use and must not be changed or copied after its first use. It
// builds each combination of filters, sort and page once. The texts are stable, so connections
// reuse their prepared statements.
type List[A, R any] struct {
	// Name is a word that identifies the list in cursors, and in traces by the comment that sqlc
	// writes too: "-- name: pages :many".
	Name string

	// Select is the statement up to its WHERE: columns, tables and joins. Its columns are the
	// fields of R.
	Select string

	// Where is a condition that every page applies. Its arguments cannot be left out: what guards
	// access belongs here. "true" lets everything through.
	Where string

	// Filters are conditions that a field of the same name in A switches on: a pointer, slice or
	// map that is not nil, an Optional that is not absent, a struct whose field Valid is true, or a
	// bool that is true for a condition without arguments. A condition may use other fields too,
	// which must be set then. There are at most 64.
	Filters Filters

	// Sorts are the columns of ORDER BY, by the names that they have in Select, each with asc or
	// desc and nulls first or nulls last. The columns together must be unique.
	Sorts Sorts

	// Sizes are the numbers of rows that a page may have. The first one is the default.
	Sizes []int

	// Open says that Where has no argument on purpose, so that every caller may list every row that
	// matches. Package pgquerytest asks for it. Defaults to false.
	Open bool

	// Replan makes the server plan each page for its values. Use it if some values are much more
	// frequent than others. It adds about a fifth to a short query. Defaults to false.
	Replan bool

	// Keys returns the keys that sign cursors, each of at least 16 bytes. The first one signs, each
	// one verifies. It is called once for each page. Clients can still read the values in a cursor.
	// Without keys a client can forge a cursor that starts anywhere in the list. Defaults to nil.
	Keys func() [][]byte

	once sync.Once
	list *list
}

// At says which page of a list to read.
type At struct {
	// Sort is the name of an order. Defaults to the cursor's, or to the only declared one.
	Sort string
	// Size is one of the declared sizes. Defaults to the first one.
	Size int
	// Cursor is Next or Prev of another page. Defaults to "", the first page.
	Cursor string
}

// Page is a part of a list.
type Page[R any] struct {
	Rows []R    `json:"rows"`           // never nil
	Next string `json:"next,omitempty"` // the cursor of the page after it, or ""
	Prev string `json:"prev,omitempty"` // the cursor of the page before it, or ""
}

// Page reads a page with one query. A cursor says where in the order a page starts. Rows inserted
// or deleted since then appear or are missing, but no other row is skipped or repeated.
//
// A wrong field of at is a [NameError] or a [CursorError], a wrong field of args an
// [ArgumentError]; then nothing was sent. The database's errors are wrapped.
//
// A cursor holds 48 kB. If the sort's columns have more in the last row, or a time that Go cannot
// hold, Page returns an error along with the rows. [List.All] goes on from there.
func (l *List[A, R]) Page(ctx context.Context, db DB, args A, at At) (Page[R], error) {
	var page Page[R]
	c, r, err := l.request(at)
	if err != nil {
		return page, err
	}
	rows, more, err := fetch[R](ctx, db, c, reflect.ValueOf(&args).Elem(), &r)
	if err != nil {
		return page, err
	}
	page.Rows = rows
	page.Next, page.Prev, err = c.cursors(&r, reflect.ValueOf(rows), more)
	return page, err
}

// All reads the rows from at on, page by page, and holds one page in memory. It ends at the first
// error, which is the second value of its last element. A cursor must lead forward.
//
// Each page is a separate query, so changes between them are visible, unless db is a transaction
// with REPEATABLE READ. All holds no connection while the loop's body runs, unless db is one.
func (l *List[A, R]) All(ctx context.Context, db DB, args A, at At) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		c, r, err := l.request(at)
		if err == nil && r.backward {
			err = &CursorError{List: c.name, Reason: "leads backward"}
		}
		for more := true; more && err == nil; {
			var rows []R
			rows, more, err = fetch[R](ctx, db, c, reflect.ValueOf(&args).Elem(), &r)
			for _, row := range rows {
				if !yield(row, nil) {
					return
				}
			}
			if more {
				r.start(reflect.ValueOf(&rows[len(rows)-1]).Elem())
				r.variant.Keyset, r.variant.Nulls = true, r.nulls
			}
		}
		if err != nil {
			var none R
			yield(none, err)
		}
	}
}

// Count returns how many rows the list has with the filters of args. It reads all of them, which is
// slow on a large table.
func (l *List[A, R]) Count(ctx context.Context, db DB, args A) (int64, error) {
	c, err := l.compiled()
	if err != nil {
		return 0, err
	}
	values := reflect.ValueOf(&args).Elem()
	t := c.texts.get(decl.Variant{Filters: c.active(values), Count: true}, c.build)
	bound, err := c.bind(c.mode(), t, values, nil)
	if err != nil {
		return 0, err
	}
	rows, err := db.Query(ctx, t.SQL, bound...)
	if err != nil {
		return 0, c.wrap(fmt.Errorf("count: %w", err))
	}
	n, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[int64])
	if err != nil {
		return 0, c.wrap(fmt.Errorf("count: %w", err))
	}
	return n, nil
}

// request is a checked request for a page. The cursor's direction counts even if it has no place.
type request struct {
	cursor
	variant decl.Variant
	signers [][]byte
}

// request checks the client's choices.
func (l *List[A, R]) request(at At) (c *list, r request, err error) {
	if c, err = l.compiled(); err != nil {
		return c, r, err
	}
	r.signers = [][]byte{nil} // nil stands for no key
	if l.Keys != nil {
		r.signers = l.Keys()
		if len(r.signers) == 0 || slices.ContainsFunc(r.signers, func(key []byte) bool { return len(key) < minKey }) {
			return c, r, c.wrap(fmt.Errorf("the function Keys must return keys of at least %d bytes", minKey))
		}
	}
	name := at.Sort
	if name == "" && len(c.sorts) == 1 {
		name = c.sorts[0].name
	}
	if at.Cursor != "" {
		if r.cursor, err = c.decode(at.Cursor, r.signers); err != nil {
			return c, r, err
		}
		name = cmp.Or(name, r.sort.name)
	}
	sort := c.sortNamed(name)
	size := slices.Index(c.sizes, cmp.Or(at.Size, c.sizes[0]))
	switch {
	case sort < 0:
		return c, r, c.unknown("sort")
	case r.sort != nil && r.sort != &c.sorts[sort]:
		return c, r, &CursorError{List: c.name, Reason: "belongs to the sort " + r.sort.name}
	case size < 0:
		return c, r, c.unknown("size")
	}
	r.sort = &c.sorts[sort]
	r.variant = decl.Variant{Sort: sort, Size: size, Backward: r.backward, Keyset: r.values != nil, Nulls: r.nulls}
	return c, r, nil
}

func (l *list) sortNamed(name string) int {
	return slices.IndexFunc(l.sorts, func(s sort) bool { return s.name == name })
}

func (l *list) unknown(kind string) error {
	e := &NameError{List: l.name, Kind: kind}
	if kind == "size" {
		for _, size := range l.sizes {
			e.Known = append(e.Known, strconv.Itoa(size))
		}
		return e
	}
	for _, s := range l.sorts {
		e.Known = append(e.Known, s.name)
	}
	return e
}

// mode returns the options that come before the values of a query.
func (l *list) mode() []any {
	if l.replan {
		return []any{pgx.QueryExecModeCacheDescribe}
	}
	return nil
}

// fetch runs the query of a page. It returns the rows in the list's order. more says whether there
// are further rows in the page's direction.
func fetch[R any](
	ctx context.Context, db DB, c *list, args reflect.Value, r *request,
) (page []R, more bool, err error) {
	r.variant.Filters = c.active(args)
	t := c.texts.get(r.variant, c.build)
	values, err := c.bind(c.mode(), t, args, r.values)
	if err != nil {
		return nil, false, err
	}
	size := c.sizes[r.variant.Size]
	page, err = run[R](ctx, db, c.compiler, t, values, size+1)
	if err != nil {
		return nil, false, err
	}
	if len(page) > size {
		page, more = page[:size], true
	}
	if r.backward {
		slices.Reverse(page)
	}
	return page, more, nil
}
