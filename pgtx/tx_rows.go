package pgtx

import (
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// rows keep the session's gate until they are closed, and observe the error they ended with.
type rows struct {
	pgx.Rows
	session *session
	sql     string
	batch   bool // of a batch, whose results give the gate back
	riding  bool // of the statement that BEGIN rides with, which observes by itself
	done    bool
	cut     error // why they ended before they were read
}

func (r *rows) Err() error {
	if r.cut != nil {
		return r.cut
	}
	return r.Rows.Err()
}

// resume takes the gate for a call. If it cannot, the rows are over.
func (r *rows) resume() bool {
	if err := r.session.gate.resume(); err != nil {
		r.done, r.cut = true, err
		return false
	}
	return true
}

func (r *rows) Next() bool {
	if r.done {
		return r.cut == nil && r.Rows.Next()
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
func (r *rows) read(do func() error) (err error) {
	switch {
	case r.cut != nil:
		return r.cut
	case r.done:
		return do()
	case !r.resume():
		return r.cut
	}
	err = errNotReturned
	defer func() {
		if err == nil {
			r.session.gate.hold()
			return
		}
		// pgx closes the rows when a value cannot be scanned, but not when there is no current row,
		// nor if a Scanner panics: Close does no harm where it has, and leaves nothing open where
		// it has not.
		r.Rows.Close()
		r.finish()
	}()
	err = do()
	return err
}

// finish is called by the holder of the gate.
func (r *rows) finish() {
	r.done = true
	if !r.riding {
		r.session.observeStatement(r.sql, tagged(r.Rows.CommandTag()), r.Rows.Err())
	}
	if r.batch {
		r.session.gate.hold()
	} else {
		r.session.gate.leave()
	}
}

// row is the first of rows, which keep the gate until it is scanned.
type row struct {
	rows
	scanned bool
}

func (r *row) Scan(dest ...any) error {
	if r.scanned {
		return errors.New("scan: the row was scanned already") // the gate may be another statement's by now
	}
	r.scanned = true
	return plainRow{&r.rows}.Scan(dest...)
}

// plainRow does what the row of pgx does.
type plainRow struct{ rows pgx.Rows }

func (r plainRow) Scan(dest ...any) error {
	defer r.rows.Close()
	for _, d := range dest {
		if _, ok := d.(*pgtype.DriverBytes); ok {
			return errors.New("cannot scan into *pgtype.DriverBytes from QueryRow")
		}
	}
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	r.rows.Close()
	return r.rows.Err()
}

// batchResults keep the session's gate until they are closed. They call the callbacks of the batch
// themselves, so that a callback that panics leaves the connection in order.
type batchResults struct {
	inner   pgx.BatchResults
	session *session
	batch   *pgx.Batch
	next    int // the query whose result is read next
	done    bool
	err     error
}

func (b *batchResults) sql() string {
	if b.next++; b.next <= len(b.batch.QueuedQueries) {
		return b.batch.QueuedQueries[b.next-1].SQL
	}
	return ""
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
	b.ends(tag)
	return tag, err
}

// ends marks a transaction that a query of the batch ended. The connection's status is not known
// before the batch is closed.
func (b *batchResults) ends(tag pgconn.CommandTag) {
	if sql := b.sql(); tagged(tag).end(sql) {
		b.session.endByFunction()
	}
}

func (b *batchResults) Query() (pgx.Rows, error) {
	if b.done {
		return b.inner.Query()
	}
	r := &rows{}
	err := b.query(r)
	if err != nil {
		return r.Rows, err
	}
	return r, nil
}

func (b *batchResults) QueryRow() pgx.Row {
	if b.done {
		return b.inner.QueryRow()
	}
	r := &row{}
	if err := b.query(&r.rows); err != nil {
		return errRow{err: err}
	}
	return r
}

func (b *batchResults) query(r *rows) error {
	r.Rows = errRows{err: ErrTxClosed}
	if err := b.session.gate.resume(); err != nil {
		r.Rows = errRows{err: err}
		return err
	}
	defer b.session.gate.hold()
	inner, err := b.inner.Query()
	r.Rows = &batchRows{Rows: inner, batch: b, sql: b.sql()}
	if err != nil {
		return err
	}
	r.session, r.batch, r.riding = b.session, true, true
	return nil
}

// batchRows mark a transaction that their query ended.
type batchRows struct {
	pgx.Rows
	batch *batchResults
	sql   string
}

func (r *batchRows) Close() {
	r.Rows.Close()
	r.mark()
}

func (r *batchRows) Next() bool {
	if r.Rows.Next() {
		return true
	}
	r.mark()
	return false
}

func (r *batchRows) mark() {
	if tagged(r.Rows.CommandTag()).end(r.sql) {
		r.batch.session.endByFunction()
	}
}

// Close calls the callbacks of the queries whose results were not read, like that of pgx.
func (b *batchResults) Close() error {
	if b.done {
		return b.err
	}
	defer b.finish() // also if a callback panics
	for b.err == nil && b.next < len(b.batch.QueuedQueries) {
		if call := b.batch.QueuedQueries[b.next].Fn; call != nil {
			b.err = call(b)
		} else {
			_, b.err = b.Exec()
		}
	}
	b.finish()
	return b.err
}

func (b *batchResults) finish() {
	if b.done {
		return
	}
	b.done = true
	if err := b.session.gate.resume(); err != nil {
		if b.err == nil {
			b.err = err
		}
		return
	}
	defer b.session.gate.leave()
	err := b.inner.Close()
	if b.err == nil {
		b.err = err
	}
	if err == nil {
		err = b.err
	}
	b.session.observe(err)
}

// Tx is nil: a batch that begins a transaction is refused inside one.
func (b *batchResults) Tx() pgx.Tx { return nil }

// errRows are the rows of a query that was not sent, or failed at once.
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
