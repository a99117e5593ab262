package pgtx

import (
	"bytes"
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// errWarned stands for a COMMIT that succeeded with a notice while replication is synchronous.
var errWarned = errors.New("the server warned at COMMIT, and it might not have been replicated")

// notices notes whether one arrived while it was a connection's message trace.
type notices struct{ met bool }

func (n *notices) Write(message []byte) (int, error) {
	n.met = n.met || bytes.Contains(message, []byte("NoticeResponse"))
	return len(message), nil
}

// noticed runs do and reports whether a notice arrived. Handlers of notices belong to the
// connection's configuration, which is not ours; the trace of messages can be set on a connection
// that is open.
func noticed(conn *pgx.Conn, do func() error) (met bool, err error) {
	var seen notices
	frontend := conn.PgConn().Frontend()
	frontend.Trace(&seen, pgproto3.TracerOptions{SuppressTimestamps: true})
	if err = do(); conn.IsClosed() {
		return false, err // pgx may still be saying goodbye on it in the background
	}
	frontend.Untrace()
	return seen.met, err
}

// execCommit sends COMMIT. A wait for a synchronous standby that somebody cancels ends in success
// with a warning: the transaction is committed on this server, and lost if it is failed over from.
func (l *leased) execCommit(ctx context.Context, query string) (tag pgconn.CommandTag, err error) {
	if !l.watched {
		return l.Exec(ctx, query)
	}
	met, err := noticed(l.conn, func() error {
		tag, err = l.Exec(ctx, query)
		return err
	})
	if err != nil || !met {
		return tag, err
	}
	// The text is in the server's language; most notices are other ones.
	var alone bool
	if l.conn.QueryRow(ctx, `select current_setting('synchronous_standby_names') = ''`).Scan(&alone) != nil || !alone {
		return tag, errWarned
	}
	return tag, nil
}
