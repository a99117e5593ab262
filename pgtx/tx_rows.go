package pgtx

import (
	"cmp"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// rows occupy the session until they are closed. They read from the connection, so each of their
// calls goes through the gate.
type rows struct {
	pgx.Rows
	gate   *gate
	conn   *pgx.Conn
	sql    string
	riding bool          // BEGIN traveled with the statement
	partly bool          // see answers
	batch  *batchResults // whose rows they are, or nil
	done   bool
	err    error // once done
}

// fail makes r the rows of a query that failed.
func (r *rows) fail(err error) {
	r.Rows, r.done, r.err = pgx.RowsFromResultReader(nil, &pgconn.ResultReader{}), true, err
}

func (r *rows) Conn() *pgx.Conn { return r.conn }

func (r *rows) Err() error {
	if r.done {
		return r.err
	}
	return r.Rows.Err()
}

// resume calls fn with the session. If the session is not theirs any more, the rows are over.
func (r *rows) resume(fn func(*session)) {
	err := r.gate.resume(func(s *session) error { fn(s); return nil })
	if err != nil {
		r.fail(err)
	}
}

func (r *rows) Next() (more bool) {
	if r.done {
		return false
	}
	r.resume(func(s *session) {
		if more = r.Rows.Next(); !more {
			r.finish(s)
		}
	})
	return more
}

func (r *rows) Close() {
	if !r.done {
		r.resume(func(s *session) {
			r.Rows.Close()
			r.finish(s)
		})
	}
}

func (r *rows) Scan(dest ...any) error {
	return r.read(func() error { return r.Rows.Scan(dest...) })
}

func (r *rows) Values() (values []any, err error) {
	err = r.read(func() error { values, err = r.Rows.Values(); return err })
	return values, err
}

// read reads from the current row, whose bytes are in the connection's buffer. An error, or a panic
// of a Scanner, ends the rows.
func (r *rows) read(do func() error) (err error) {
	if r.done {
		return cmp.Or(r.err, errNoRow)
	}
	r.resume(func(s *session) {
		err = errNotReturned
		defer func() {
			if err != nil {
				r.Rows.Close() // pgx does not close them if there is no current row, or in a panic
				r.finish(s)
			}
		}()
		err = do()
	})
	return cmp.Or(err, r.err)
}

var errNoRow = errors.New("scan: there is no current row")

// finish records how the rows ended.
func (r *rows) finish(s *session) {
	r.done, r.err = true, r.Rows.Err()
	seen := tagged(r.CommandTag())
	seen.partly = r.partly
	switch {
	case r.batch != nil:
		r.batch.see(s, r.CommandTag())
		return
	case r.riding:
		r.err = s.first.settle(s, r.CommandTag(), r.err)
	default:
		s.observeStatement(r.sql, seen, r.err)
	}
	s.reading = false
}

// row is the first of rows, which stay open until it is scanned.
type row struct {
	rows
	scanned bool
}

// Scan does what the row of pgx does.
func (r *row) Scan(dest ...any) error {
	if r.scanned {
		return errors.New("scan: the row was scanned already")
	}
	r.scanned = true
	defer r.Close()
	for _, d := range dest {
		if _, ok := d.(*pgtype.DriverBytes); ok {
			return errors.New("cannot scan into *pgtype.DriverBytes from QueryRow")
		}
	}
	if !r.Next() {
		return cmp.Or(r.Err(), pgx.ErrNoRows)
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	r.Close()
	return r.Err()
}
