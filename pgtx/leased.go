package pgtx

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// transaction is what a session needs of a pgx.Tx.
type transaction interface {
	Commit(ctx context.Context) error
	Rollback(ctx context.Context) error
	CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, source pgx.CopyFromSource) (int64, error)
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
	Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error)
	Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	LargeObjects() pgx.LargeObjects
	Conn() *pgx.Conn
}

var _ transaction = (*leased)(nil)

// queries are the methods that a transaction hands on to its connection.
type queries interface {
	CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, source pgx.CopyFromSource) (int64, error)
	Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error)
	Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// leased is a transaction on a connection of a pool, begun by a statement of ours: pgx makes a
// pgx.Tx only of a BEGIN of its own. Commit and Rollback do what those of pgx do, except that
// Commit has cleanupLimit beyond the end of ctx.
type leased struct {
	queries
	conn        *pgx.Conn
	lease       *pgxpool.Conn
	commitQuery string
	patience    patience
	watched     bool // whether notices at COMMIT are looked at
}

// onLease is the transaction that was begun on the session's connection, which belongs to a pool if
// there is a lease.
func (s *session) onLease() *leased {
	conn := s.connected
	s.leased = leased{queries: conn, conn: conn, lease: s.lease, commitQuery: s.txOptions.CommitQuery, watched: s.opts.announced()}
	return &s.leased
}

func (l *leased) release() {
	if l.lease != nil {
		l.lease.Release()
	}
}

func (l *leased) Conn() *pgx.Conn { return l.conn }

func (l *leased) Commit(ctx context.Context) error {
	defer l.release()
	query := l.commitQuery
	if query == "" {
		query = "commit"
	}
	stop := l.patience.start(ctx, l.conn)
	tag, err := l.execCommit(context.WithoutCancel(ctx), query)
	if stop() {
		kill(l.conn) // the answer may have come just before: the connection must not go back to the pool
		if err != nil {
			err = fmt.Errorf("no answer within %v after the end of ctx (%w): %w", cleanupLimit, context.Cause(ctx), err)
		}
	}
	if err != nil {
		if l.conn.PgConn().TxStatus() != 'I' {
			_ = l.conn.Close(ctx)
		}
		return err
	}
	if tag.String() == "ROLLBACK" {
		return pgx.ErrTxCommitRollback
	}
	return nil
}

func (l *leased) Rollback(ctx context.Context) error {
	defer l.release()
	_, err := l.Exec(ctx, "rollback")
	if err != nil {
		kill(l.conn) // its state is not known
	}
	return err
}

func (l *leased) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if begins(b) {
		return pgx.FailedBatchResults(b, errBatchBegins)
	}
	return l.conn.SendBatch(ctx, b)
}

// LargeObjects takes a pgx.Tx from pgx by letting it send an empty statement in BEGIN's place: a
// round trip, which has its own limit because there is no ctx to bound it.
func (l *leased) LargeObjects() pgx.LargeObjects {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupLimit)
	defer cancel()
	tx, err := l.conn.BeginTx(ctx, pgx.TxOptions{BeginQuery: ";"})
	if err != nil {
		return closedLargeObjects()
	}
	return tx.LargeObjects()
}

// closedLargeObjects are those of a pgx.Tx that is closed: every use of them is pgx.ErrTxClosed.
// The zero value panics.
func closedLargeObjects() pgx.LargeObjects {
	var b pgx.Batch
	b.BeginTx(pgx.TxOptions{})
	return pgx.FailedBatchResults(&b, ErrTxClosed).Tx().LargeObjects()
}

// kill closes a connection without a word to the server.
func kill(conn *pgx.Conn) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = conn.Close(ctx)
}
