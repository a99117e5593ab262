package session

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// ResetSettings returns the statements that restore the user and the settings with which the
// session began. The role's transaction_timeout, new in PostgreSQL 17, must not cut a migration
// short.
func ResetSettings(conn *pgx.Conn) []string {
	list := []string{"reset session authorization", "reset role", "reset all"}
	if HasTransactionTimeout(conn) {
		list = append(list, "set transaction_timeout = 0")
	}
	return list
}

// HasTransactionTimeout reports whether the server is PostgreSQL 17 or newer.
func HasTransactionTimeout(conn *pgx.Conn) bool {
	version, _, _ := strings.Cut(conn.PgConn().ParameterStatus("server_version"), ".")
	// 17.2, 18beta1
	end := strings.IndexFunc(version, func(c rune) bool { return c < '0' || c > '9' })
	if end >= 0 {
		version = version[:end]
	}
	major, err := strconv.Atoi(version)
	return err == nil && major >= 17
}

// DiscardSQL does what DISCARD ALL does beyond user and settings, except that it keeps advisory
// locks.
const DiscardSQL = "close all; unlisten *; deallocate all; discard temp; discard sequences"

// LocksSQL lists the session's advisory locks. See [ReadLocks].
const LocksSQL = "select classid, objid, objsubid, mode from pg_catalog.pg_locks " +
	"where locktype = 'advisory' and pid = pg_catalog.pg_backend_pid()"

// ReadLocks reads the rows of [LocksSQL]: whether the session holds the lock key, and the SQL
// that releases the others. A bigint key is split over classid and objid, with objsubid 1; a pair
// of keys has 2.
func ReadLocks(rows [][][]byte, key int64) (held bool, release string, err error) {
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
		case keys == strconv.FormatInt(key, 10):
			held = true
		case string(row[3]) == "ShareLock":
			release += "select pg_catalog.pg_advisory_unlock_shared(" + keys + ");"
		default:
			release += "select pg_catalog.pg_advisory_unlock(" + keys + ");"
		}
	}
	return held, release, nil
}
