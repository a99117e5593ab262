package pgtx

import (
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// rows keeps the session's gate until they are closed, and notes the error they ended with.
type rows struct {
	pgx.Rows
	session *session
	batch   bool             // of a batch: the gate is its results' to give back
	first   pgx.BatchResults // of the flush that carried BEGIN, or nil
	late    error            // of closing them
	done    bool
}

func (r *rows) Err() error {
	if err := r.Rows.Err(); err != nil {
		return err
	}
	return r.late
}

func (r *rows) Next() bool {
	if r.Rows.Next() {
		return true
	}
	r.finish()
	return false
}

func (r *rows) Close() {
	r.Rows.Close()
	r.finish()
}

func (r *rows) Scan(dest ...any) error {
	err := r.Rows.Scan(dest...)
	if err != nil {
		// pgx closes the rows when a value cannot be scanned, but not when there is no current row: Close does no harm
		// where it has, and leaves nothing open where it has not.
		r.Close()
	}
	return err
}

func (r *rows) Values() ([]any, error) {
	values, err := r.Rows.Values()
	if err != nil {
		r.Close()
	}
	return values, err
}

func (r *rows) finish() {
	if r.done {
		return
	}
	r.done = true
	if r.first != nil {
		r.late = r.session.settle(r.first, true)
	}
	r.session.note(r.Err())
	if !r.batch {
		r.session.gate.leave()
	}
}

// row keeps the session's gate until it is scanned.
type row struct {
	inner   pgx.Row
	session *session
	batch   bool
	first   pgx.BatchResults
	done    bool
}

func (r *row) Scan(dest ...any) error {
	err := r.inner.Scan(dest...)
	if r.done {
		return err // a second Scan, which pgx refuses: the gate may be somebody else's by now
	}
	r.done = true
	if r.first != nil {
		if late := r.session.settle(r.first, true); err == nil {
			err = late
		}
	}
	r.session.note(err)
	if !r.batch {
		r.session.gate.leave()
	}
	return err
}

// batchResults keep the session's gate until they are closed.
type batchResults struct {
	inner   pgx.BatchResults
	session *session
	first   bool // they carried BEGIN
	done    bool
}

func (b *batchResults) Exec() (pgconn.CommandTag, error) {
	tag, err := b.inner.Exec()
	b.session.note(err)
	return tag, err
}

func (b *batchResults) Query() (pgx.Rows, error) {
	inner, err := b.inner.Query()
	if err != nil {
		b.session.note(err)
		return inner, err
	}
	return &rows{Rows: inner, session: b.session, batch: true}, nil
}

func (b *batchResults) QueryRow() pgx.Row {
	return &row{inner: b.inner.QueryRow(), session: b.session, batch: true}
}

func (b *batchResults) Close() error {
	var err error
	if b.first && !b.done {
		err = b.session.settle(b.inner, true)
	} else {
		err = b.inner.Close()
	}
	if !b.done {
		b.done = true
		b.session.note(err)
		b.session.gate.leave()
	}
	return err
}

// Tx is nil: a batch that begins a transaction is refused inside one.
func (b *batchResults) Tx() pgx.Tx { return nil }

// errRows are the rows of a query that was not sent.
type errRows struct{ err error }

func (errRows) Close()                                       {}
func (r errRows) Err() error                                 { return r.err }
func (errRows) CommandTag() pgconn.CommandTag                { return pgconn.CommandTag{} }
func (errRows) FieldDescriptions() []pgconn.FieldDescription { return nil }
func (errRows) Next() bool                                   { return false }
func (r errRows) Scan(...any) error                          { return r.err }
func (r errRows) Values() ([]any, error)                     { return nil, r.err }
func (errRows) RawValues() [][]byte                          { return nil }
func (errRows) Conn() *pgx.Conn                              { return nil }
func (errRows) TypeMap() *pgtype.Map                         { return nil }

type errRow struct{ err error }

func (r errRow) Scan(...any) error { return r.err }
