package pgmigrate

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// resetSettings brings user and settings back to what they were when the session began. The role's
// transaction_timeout, which PostgreSQL 17 introduced, must not cut a migration short.
func resetSettings(conn *pgx.Conn) []string {
	list := []string{"reset session authorization", "reset role", "reset all"}
	version, _, _ := strings.Cut(conn.PgConn().ParameterStatus("server_version"), ".")
	// 17.2, 18beta1
	end := strings.IndexFunc(version, func(c rune) bool { return c < '0' || c > '9' })
	if end >= 0 {
		version = version[:end]
	}
	if major, err := strconv.Atoi(version); err == nil && major >= 17 {
		list = append(list, "set transaction_timeout = 0")
	}
	return list
}

// discardSQL is the part of DISCARD ALL that does not concern user and settings, except that it
// keeps advisory locks and lists them.
const discardSQL = "close all; unlisten *; deallocate all; discard temp; discard sequences; " +
	"select classid, objid, objsubid, mode from pg_catalog.pg_locks " +
	"where locktype = 'advisory' and pid = pg_catalog.pg_backend_pid()"

// resetSession undoes what a file has left in the session, so that nothing of it reaches the next
// one, and waits for the migration lock if the file has released it. The session must be idle.
func (r *run) resetSession(ctx context.Context) error {
	for {
		sql := strings.Join(append(resetSettings(r.conn), discardSQL), "; ")
		results, err := r.conn.PgConn().Exec(ctx, sql).ReadAll()
		if err != nil {
			return fmt.Errorf("reset the session: %w", err)
		}
		ours, others, err := readLocks(results[len(results)-1].Rows)
		if err == nil && others != "" {
			// What was taken several times is listed once, and comes up again.
			err = exec(ctx, r.conn.PgConn(), others)
		}
		switch {
		case err != nil:
			return fmt.Errorf("reset the session: %w", err)
		case others != "":
		case ours:
			return nil
		default:
			return r.lock(ctx)
		}
	}
}

// readLocks tells the migration lock from others and returns the SQL that releases those. A bigint
// key is split over classid and objid, with objsubid 1; two keys have 2.
func readLocks(rows [][][]byte) (ours bool, others string, err error) {
	for _, row := range rows {
		class, err1 := strconv.ParseUint(string(row[0]), 10, 32)
		object, err2 := strconv.ParseUint(string(row[1]), 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return false, "", err
		}
		keys := fmt.Sprintf("%d", int64(class<<32|object))
		if string(row[2]) != "1" {
			keys = fmt.Sprintf("%d, %d", int32(class), int32(object))
		}
		switch {
		case keys == strconv.FormatInt(migrationLock, 10):
			ours = true
		case string(row[3]) == "ShareLock":
			others += "select pg_catalog.pg_advisory_unlock_shared(" + keys + ");"
		default:
			others += "select pg_catalog.pg_advisory_unlock(" + keys + ");"
		}
	}
	return ours, others, nil
}
