package pgtx

import (
	"errors"

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
	cut     bool // the transaction ended before they were read
}

func (r *rows) Err() error {
	if err := r.Rows.Err(); err != nil {
		return err
	}
	return r.late
}

// resume takes the gate for a call. If it cannot, the rows are over.
func (r *rows) resume() bool {
	if err := r.session.gate.resume(); err != nil {
		r.done, r.cut, r.late = true, true, err
		return false
	}
	return true
}

func (r *rows) Next() bool {
	if r.done {
		return !r.cut && r.Rows.Next()
	}
	if !r.resume() {
		return false
	}
	if r.Rows.Next() {
		r.session.gate.hold()
		return true
	}
	r.finish()
	return false
}

func (r *rows) Close() {
	if r.done || !r.resume() {
		return
	}
	r.Rows.Close()
	r.finish()
}

func (r *rows) Scan(dest ...any) error {
	return r.read(func() error { return r.Rows.Scan(dest...) })
}

func (r *rows) Values() (values []any, err error) {
	err = r.read(func() error { values, err = r.Rows.Values(); return err })
	return values, err
}

// read reads from the current row, whose bytes are those of the connection.
func (r *rows) read(do func() error) error {
	switch {
	case r.cut:
		return r.late
	case r.done:
		return do()
	case !r.resume():
		return r.late
	}
	if err := do(); err != nil {
		// pgx closes the rows when a value cannot be scanned, but not when there is no current row:
		// Close does no harm where it has, and leaves nothing open where it has not.
		r.Rows.Close()
		r.finish()
		return err
	}
	r.session.gate.hold()
	return nil
}

// finish is called inside the gate.
func (r *rows) finish() {
	r.done = true
	if r.first != nil {
		r.late = r.session.settle(r.first, true)
	}
	r.session.note(r.Err())
	if r.batch {
		r.session.gate.hold()
	} else {
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
	if r.done {
		return errScanned // a second Scan: the gate may be somebody else's by now
	}
	r.done = true
	if err := r.session.gate.resume(); err != nil {
		return err
	}
	err := r.inner.Scan(dest...)
	if r.first != nil {
		if late := r.session.settle(r.first, true); err == nil {
			err = late
		}
	}
	r.session.note(err)
	if r.batch {
		r.session.gate.hold()
	} else {
		r.session.gate.leave()
	}
	return err
}

var errScanned = errors.New("scan: the row was scanned already")

// batchResults keep the session's gate until they are closed.
type batchResults struct {
	inner   pgx.BatchResults
	session *session
	first   bool // they carried BEGIN
	done    bool
}

func (b *batchResults) Exec() (pgconn.CommandTag, error) {
	if b.done {
		return b.inner.Exec()
	}
	if err := b.session.gate.resume(); err != nil {
		return pgconn.CommandTag{}, err
	}
	defer b.session.gate.hold()
	tag, err := b.inner.Exec()
	b.session.note(err)
	return tag, err
}

func (b *batchResults) Query() (pgx.Rows, error) {
	if b.done {
		return b.inner.Query()
	}
	if err := b.session.gate.resume(); err != nil {
		return errRows{err: err}, err
	}
	defer b.session.gate.hold()
	inner, err := b.inner.Query()
	if err != nil {
		b.session.note(err)
		return inner, err
	}
	return &rows{Rows: inner, session: b.session, batch: true}, nil
}

func (b *batchResults) QueryRow() pgx.Row {
	if b.done {
		return b.inner.QueryRow()
	}
	if err := b.session.gate.resume(); err != nil {
		return errRow{err: err}
	}
	defer b.session.gate.hold()
	return &row{inner: b.inner.QueryRow(), session: b.session, batch: true}
}

func (b *batchResults) Close() error {
	if b.done {
		return b.inner.Close()
	}
	b.done = true
	if err := b.session.gate.resume(); err != nil {
		return err
	}
	var err error
	if b.first {
		err = b.session.settle(b.inner, true)
	} else {
		err = b.inner.Close()
	}
	b.session.note(err)
	b.session.gate.leave()
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
