package pghealth

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgerr"
)

const (
	outputNoAnswer  = "the database does not answer in time"
	outputReadOnly  = "the session cannot write"
	outputNoSlot    = "the server has no connection slot left for the probe; the pool's own connections are open"
	outputSyncRep   = "commits wait for a synchronous standby"
	outputBroken    = "the database cannot be used"
	outputUnreached = "not observed: the database cannot be reached"
)

// errReadOnly is this package's own error: the server only answered a question.
var errReadOnly error = readOnlyError{}

type readOnlyError struct{}

func (readOnlyError) Error() string {
	return "transaction_read_only is on: the server is a standby, or default_transaction_read_only is set " +
		"for the server, database or role"
}
func (readOnlyError) Category() pgerr.Category { return pgerr.ReadOnly }

// syncRepQuery counts the commits of this database that have been waiting for a synchronous standby
// for longer than replication takes. It costs ten times what a ping does.
const syncRepQuery = `select count(*) from pg_stat_activity where datname = current_database()
	and wait_event = 'SyncRep' and query_start < clock_timestamp() - interval '1 second'`

// measureConnectivity asks the server whether the session is read-only, as it always is on a
// standby. The value is the time of the round trip, without connecting.
//
// If all connections of the pool are in use, it also asks whether commits wait.
func (d *database) measureConnectivity(ctx context.Context) observation {
	var took time.Duration
	waiting := false
	err := d.session.do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		took = 0
		began := time.Now()
		row, err := queryRow(ctx, conn, "show transaction_read_only")
		if err != nil {
			return err
		}
		took = time.Since(began)
		if string(row[0]) == "on" && !d.opts.AllowReadOnly {
			return errReadOnly
		}
		if stat := d.pool.Stat(); stat.AcquiredConns() >= stat.MaxConns() {
			if row, err = queryRow(ctx, conn, syncRepQuery); err != nil {
				return err
			}
			waiting = string(row[0]) != "0"
		}
		return nil
	})

	seen := observation{Status: pass}
	if waiting {
		seen.Status, seen.Output = warn, outputSyncRep
	}
	if err != nil {
		seen = d.failUnread(err, outputBroken)
	}
	if errors.Is(err, errReadOnly) {
		seen.Output = outputReadOnly
	}
	if took > 0 {
		seen = seen.withValue(float64(took.Microseconds())/1000, "ms", humanize(took))
	}
	return seen
}

// asBusy turns a failure for lack of a connection slot into a warning while the pool has
// connections: the server answered, and the service can use it.
func (d *database) asBusy(seen observation) observation {
	stat := d.pool.Stat()
	if seen.Category == pgerr.TooManyConnections && stat.AcquiredConns()+stat.IdleConns() > 0 {
		seen.Status, seen.Output = warn, outputNoSlot
	}
	return seen
}

// failUnread returns the observation for a measure that failed because of err.
func (d *database) failUnread(err error, output string) observation {
	seen := failure(err, output)
	if seen.Category == pgerr.Timeout {
		seen.Output = outputNoAnswer
	}
	return d.asBusy(seen)
}

// queryRow returns the one row of a query, with nil for NULL. It uses the simple protocol, which
// prepares nothing: PgBouncer may give each query another server connection.
func queryRow(ctx context.Context, conn *pgx.Conn, sql string) ([][]byte, error) {
	results, err := conn.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return nil, fmt.Errorf("health probe: %d results instead of one row", len(results))
	}
	return results[0].Rows[0], nil
}

// schemaLimit leaves the server time to end a statement after half of timeout, and leaves
// connectivity time for its question.
func schemaLimit(timeout time.Duration) time.Duration { return timeout * 5 / 8 }

func (d *database) measureSchema(ctx context.Context) observation {
	var current, needed int64
	var dirty bool
	err := d.session.do(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
		ctx, cancel := context.WithTimeout(ctx, schemaLimit(d.opts.Timeout))
		defer cancel()
		current, needed, dirty, err = d.opts.Schema.SchemaVersion(ctx, conn)
		return err
	})
	if err != nil {
		return d.failUnread(err, "the version of the schema could not be read")
	}
	text := "version " + strconv.FormatInt(current, 10) + " of " + strconv.FormatInt(needed, 10)
	seen := observation{Status: pass, Figures: map[string]int64{"needed": needed}}
	seen = seen.withValue(current, "version", text)
	switch {
	case dirty:
		seen.Status, seen.Output = fail, "a migration stopped half-way"
		seen.cause = fmt.Errorf("version %d is dirty: repair it with the migration tool", current)
	case current < needed:
		seen.Status, seen.Output = fail, "the schema is behind this binary"
		seen.cause = errors.New("migrations are missing: run them before or with the deployment of this binary")
	}
	return seen
}

// measureListener warns, and fails only after Options.MaxListenerDown. Listeners reconnect on their
// own, and all instances lose theirs at the same time.
func (d *database) measureListener(context.Context) observation {
	since, err := d.opts.Listener.Alive()
	if since.IsZero() {
		since = d.created
	}
	lasts := max(time.Since(since), 0)
	if err == nil {
		return observation{Status: pass}.withValue(lasts.Seconds(), "s", "up for "+humanize(lasts))
	}
	seen := failure(err, "LISTEN is not established: notifications do not arrive")
	seen.Status = warn
	if seen.Category == pgerr.Unknown { // it has not begun, for example
		seen.Category = ""
	}
	if reaches(lasts, d.opts.MaxListenerDown) {
		seen.Status = fail
	}
	return seen.withValue(lasts.Seconds(), "s", "down for "+humanize(lasts))
}

// reaches reports whether d reaches limit. A limit of 0 or less means no limit.
func reaches(d, limit time.Duration) bool { return limit > 0 && d >= limit }
