package pgtx

import (
	"errors"
	"slices"
	"strings"

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
	partly  bool // see answers
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
		seen := tagged(r.CommandTag())
		seen.partly = r.partly
		r.session.observeStatement(r.sql, seen, r.Rows.Err())
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
	commits bool    // COMMIT travels with it, and Atomic judges the answer
	next    int     // the query whose result is read next
	seen    answers // of all queries
	done    bool
	err     error
}

func (b *batchResults) Exec() (pgconn.CommandTag, error) {
	if b.done {
		return pgconn.CommandTag{}, b.closedError()
	}
	if err := b.session.gate.resume(); err != nil {
		return pgconn.CommandTag{}, err
	}
	defer b.session.gate.hold()
	b.next++
	tag, err := b.inner.Exec()
	b.see(tag)
	return tag, err
}

// see marks a transaction that a query of the batch ended. The connection's status is not known
// before the batch is closed.
func (b *batchResults) see(tag pgconn.CommandTag) {
	b.seen.add(tag)
	if b.seen.commits > 0 || b.seen.rollbacks > 0 && b.seen.end(b.text()) {
		b.session.endByFunction()
	}
}

// text is that of all queries.
func (b *batchResults) text() string {
	var all strings.Builder
	for _, q := range b.batch.QueuedQueries {
		sql := q.SQL
		if text, ok := b.session.prepared[sql]; ok {
			sql = text
		}
		all.WriteString(sql)
		all.WriteString("\n;")
	}
	return all.String()
}

// closedError is what pgx returns after Close.
func (b *batchResults) closedError() error {
	if b.err != nil {
		return b.err
	}
	return errors.New("batch already closed")
}

func (b *batchResults) Query() (pgx.Rows, error) {
	r := &rows{}
	err := b.query(r)
	if err != nil {
		return r.Rows, err
	}
	return r, nil
}

func (b *batchResults) QueryRow() pgx.Row {
	r := &row{}
	if err := b.query(&r.rows); err != nil {
		return errRow{err: err}
	}
	return r
}

func (b *batchResults) query(r *rows) error {
	err := b.closedError()
	if !b.done {
		err = b.session.gate.resume()
	}
	if r.Rows = (errRows{err: err, conn: b.session.conn}); err != nil {
		return err
	}
	defer b.session.gate.hold()
	b.next++
	inner, err := b.inner.Query()
	r.Rows = &batchRows{Rows: inner, batch: b}
	if err != nil {
		return err
	}
	r.session, r.batch, r.riding = b.session, true, true
	return nil
}

// batchRows mark a transaction that their query ended.
type batchRows struct {
	pgx.Rows
	batch  *batchResults
	marked bool
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
	if !r.marked {
		r.marked = true
		r.batch.see(r.CommandTag())
	}
}

// Close calls the callbacks of the queries whose results were not read, like that of pgx.
func (b *batchResults) Close() error {
	if b.done {
		return b.err
	}
	defer b.finish() // also if a callback panics
	for b.err == nil && b.next < len(b.batch.QueuedQueries) {
		before, call := b.next, b.batch.QueuedQueries[b.next].Fn
		if call != nil {
			b.err = call(b)
		}
		if b.err == nil && b.next == before { // pgx would call a callback that reads nothing for ever
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
	several := func(q *pgx.QueuedQuery) bool { return hasSeveral(q.SQL) }
	if b.err == nil && b.session.isSimple(nil) && slices.ContainsFunc(b.batch.QueuedQueries, several) {
		// In the simple protocol a query may be several statements, each with an answer.
		for tag, err := b.inner.Exec(); err == nil; tag, err = b.inner.Exec() {
			b.see(tag)
		}
	}
	err := b.inner.Close()
	if b.err == nil {
		b.err = err
	}
	if err == nil {
		err = b.err
	}
	text := ""
	if err != nil || b.seen.rollbacks > 0 || b.session.opts.TxOptions.AccessMode == pgx.ReadOnly {
		text = b.text()
	}
	if b.commits {
		b.session.noteWrite(text)
		return
	}
	b.session.observeStatement(text, b.seen, err)
}

// Tx is nil: a batch that begins a transaction is refused inside one.
func (b *batchResults) Tx() pgx.Tx { return nil }

// errRows are the rows of a query that was not sent, or failed at once.
type errRows struct {
	err  error
	conn *pgx.Conn
}

func (errRows) Close()                                       {}
func (r errRows) Err() error                                 { return r.err }
func (errRows) CommandTag() pgconn.CommandTag                { return pgconn.CommandTag{} }
func (errRows) FieldDescriptions() []pgconn.FieldDescription { return nil }
func (errRows) Next() bool                                   { return false }
func (r errRows) Scan(...any) error                          { return r.err }
func (r errRows) Values() ([]any, error)                     { return nil, r.err }
func (errRows) RawValues() [][]byte                          { return nil }
func (r errRows) Conn() *pgx.Conn                            { return r.conn }
func (errRows) TypeMap() *pgtype.Map                         { return nil }

type errRow struct{ err error }

func (r errRow) Scan(...any) error { return r.err }
