// Package pgquery puts declared pieces of SQL together: lists with filters, sorts and keyset pages,
// partial updates, relations without n + 1, and inserts of many rows.
//
// Only declared SQL is ever sent. Package pgquerytest checks every declaration on a migrated
// database.
package pgquery

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5"
)

// DB is what a list or a patch needs of a database: *pgxpool.Pool, *pgx.Conn, pgx.Tx, what
// pgtx.Querier returns, and sqlc's DBTX have it.
type DB interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Filters are conditions by name. See [List].
type Filters map[string]string

// Sorts are orders by name. See [List].
type Sorts map[string]string

// List declares a query whose filters, order and page the caller chooses. A is a struct of
// arguments, R a struct that receives a row.
//
// The texts name arguments with an @: @site is the field Site of A, or the one with the tag
// `db:"site"`. Case and underscores do not matter without a tag. Only what is declared is sent,
// with values as parameters.
//
// A List is safe for concurrent use and must not be changed or copied after its first use. Each
// combination of filters, sort and page is put together once; the texts are stable, so that the
// connections' prepared statements are used again.
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

	// Open says that Where has no argument on purpose: every caller may list every row that it lets
	// through. Package pgquerytest asks for it. Defaults to false.
	Open bool

	// Replan makes the server plan each page for its values, where some are much more frequent than
	// others. It adds about a fifth to a short query. Defaults to false.
	Replan bool

	// Keys returns the keys that sign cursors, each of at least 16 bytes: the first one signs, each
	// one verifies. It is called once for each page. Defaults to nil: cursors are not signed, and a
	// client can make one that starts anywhere in the list.
	Keys func() [][]byte

	once sync.Once
	list *list
}

// At says which page of a list to read.
type At struct {
	// Sort is the name of an order. Defaults to the cursor's, or to the only one that is declared.
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

// Page reads a page with one query. A cursor says where in the order a page starts, not which rows
// it has: rows that were inserted or deleted since then appear or are missing, and no other row is
// skipped or repeated.
//
// A wrong field of at is a [NameError] or a [CursorError], a wrong field of args an
// [ArgumentError]; nothing was sent then. The database's errors are wrapped.
func (l *List[A, R]) Page(ctx context.Context, db DB, args A, at At) (Page[R], error) {
	var page Page[R]
	c, err := l.compiled()
	if err != nil {
		return page, err
	}
	keys, err := l.keys()
	if err != nil {
		return page, err
	}
	r, err := c.resolve(at, keys)
	if err != nil {
		return page, err
	}
	rows, more, err := fetch[R](ctx, db, c, reflect.ValueOf(&args).Elem(), &r)
	if err != nil {
		return page, err
	}
	page.Rows = rows
	page.Next, page.Prev, err = c.cursors(&r, reflect.ValueOf(rows), more, keys)
	return page, err
}

// All reads the rows from at on, page by page, and holds one page in memory. It ends at the first
// error, which is the second value of its last element. A cursor must lead forward.
//
// The pages are queries of their own: what changes between them shows, unless db is a transaction
// with REPEATABLE READ. No connection is held while the loop's body runs, unless db is one.
func (l *List[A, R]) All(ctx context.Context, db DB, args A, at At) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		var none R
		c, err := l.compiled()
		if err != nil {
			yield(none, err)
			return
		}
		keys, err := l.keys()
		var r request
		if err == nil {
			r, err = c.resolve(at, keys)
		}
		if err == nil && r.variant.backward {
			err = &CursorError{List: l.Name, Reason: "leads backward"}
		}
		for more := true; more && err == nil; {
			var rows []R
			rows, more, err = fetch[R](ctx, db, c, reflect.ValueOf(&args).Elem(), &r)
			for _, row := range rows {
				if !yield(row, nil) {
					return
				}
			}
			if more && err == nil {
				r.start(reflect.ValueOf(rows).Index(len(rows) - 1))
			}
		}
		if err != nil {
			yield(none, err)
		}
	}
}

// Count returns how many rows the list has with the filters of args. It reads them all: on a large
// table a page is often shown without it.
func (l *List[A, R]) Count(ctx context.Context, db DB, args A) (int64, error) {
	c, err := l.compiled()
	if err != nil {
		return 0, err
	}
	values := reflect.ValueOf(&args).Elem()
	t := c.texts.get(variant{filters: c.active(values), count: true}, c.build)
	bound, err := c.bind(t, values, &request{})
	if err != nil {
		return 0, err
	}
	rows, err := db.Query(ctx, t.sql, bound...)
	if err != nil {
		return 0, fmt.Errorf("pgquery: list %s: count: %w", c.name, err)
	}
	n, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[int64])
	if err != nil {
		return 0, fmt.Errorf("pgquery: list %s: count: %w", c.name, err)
	}
	return n, nil
}

// compiled returns what is put together once, or a *DeclarationError.
func (l *List[A, R]) compiled() (*list, error) {
	l.once.Do(func() {
		l.list = compileList(&declaration{
			name: l.Name, query: l.Select, where: l.Where, filters: l.Filters, sorts: l.Sorts, sizes: l.Sizes,
			open: l.Open, replan: l.Replan, signed: l.Keys != nil,
			args: reflect.TypeFor[A](), row: reflect.TypeFor[R](),
		})
	})
	return l.list, l.list.err
}

// keys returns the keys that sign cursors, or one that stands for none.
func (l *List[A, R]) keys() ([][]byte, error) {
	if l.Keys == nil {
		return [][]byte{nil}, nil
	}
	keys := l.Keys()
	if len(keys) == 0 || slices.ContainsFunc(keys, func(key []byte) bool { return len(key) < minKey }) {
		return nil, fmt.Errorf("pgquery: list %s: Keys must return keys of at least %d bytes", l.Name, minKey)
	}
	return keys, nil
}

// fetch runs the query of a page. The rows are in the order of the list, and more says whether
// there are further ones in the direction of the page.
func fetch[R any](
	ctx context.Context, db DB, c *list, args reflect.Value, r *request,
) (page []R, more bool, err error) {
	r.variant.filters = c.active(args)
	t := c.texts.get(r.variant, c.build)
	values, err := c.bind(t, args, r)
	if err != nil {
		return nil, false, err
	}
	size := c.sizes[r.variant.size]
	page = make([]R, 0, min(size, maxAllocated)+1)
	rows, err := db.Query(ctx, t.sql, values...)
	if err == nil {
		page, err = collect(c.scan, rows, page)
	}
	if err != nil {
		return nil, false, fmt.Errorf("pgquery: list %s: %w", c.name, err)
	}
	if len(page) > size {
		page, more = page[:size], true
	}
	if r.variant.backward {
		slices.Reverse(page)
	}
	return page, more, nil
}

// request is a page that a caller may read.
type request struct {
	variant variant
	sort    *sort
	values  []any // of the columns of the sort; nil for null
}

// start makes the request one for the rows after row.
func (r *request) start(row reflect.Value) {
	r.values, r.variant.nulls = r.sort.read(row, r.values[:0])
	r.variant.keyset = true
}

// resolve checks what a client may choose.
func (c *list) resolve(at At, keys [][]byte) (request, error) {
	var r request
	cursor, err := c.decode(at.Cursor, keys)
	if err != nil {
		return r, err
	}
	name := at.Sort
	switch {
	case cursor != nil && name == "":
		name = cursor.sort.name
	case name == "" && len(c.sorts) == 1:
		name = c.sorts[0].name
	}
	i := slices.IndexFunc(c.sorts, func(s sort) bool { return s.name == name })
	if i < 0 {
		return r, c.unknown("sort")
	}
	r.sort, r.variant.sort = &c.sorts[i], uint16(i)
	if cursor != nil {
		if cursor.sort != r.sort {
			return r, &CursorError{List: c.name, Reason: "belongs to the sort " + cursor.sort.name}
		}
		r.variant.backward, r.variant.keyset = cursor.backward, !cursor.edge
		r.variant.nulls, r.values = cursor.nulls, cursor.values
	}
	if at.Size != 0 {
		size := slices.Index(c.sizes, at.Size)
		if size < 0 {
			return r, c.unknown("size")
		}
		r.variant.size = uint16(size)
	}
	return r, nil
}

func (c *list) unknown(kind string) error {
	e := &NameError{List: c.name, Kind: kind}
	for i := range c.sorts {
		if kind == "sort" {
			e.Known = append(e.Known, c.sorts[i].name)
		}
	}
	for _, size := range c.sizes {
		if kind == "size" {
			e.Known = append(e.Known, strconv.Itoa(size))
		}
	}
	return e
}
