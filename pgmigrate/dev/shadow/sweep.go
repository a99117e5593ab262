package shadow

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var ourName = regexp.MustCompile(`^` + prefix + `([0-9a-f]{16})_[0-9]+$`)

// sweep drops the databases of processes that have ended. It does not force: where somebody is
// connected still, such as the child of a killed process, the next sweep will do.
func (h *host) sweep(ctx context.Context) error {
	// The names first: a process takes its lock before it makes a database, so a name without a
	// lock is a dead one's.
	names, err := column[string](ctx, h.conn,
		`select datname from pg_database where datname like 'pgmigrate\_shadow\_%'`)
	if err != nil || len(names) == 0 {
		return err
	}
	locks, err := column[int64](ctx, h.conn, `select (classid::bigint << 32) | objid::bigint from pg_locks
		where locktype = 'advisory' and objsubid = 1 and granted`)
	if err != nil {
		return err
	}
	held := map[int64]bool{}
	for _, key := range locks {
		held[key] = true
	}
	for _, name := range names {
		match := ourName.FindStringSubmatch(name)
		if match == nil || held[lockKey(match[1])] {
			continue
		}
		_, err := h.conn.Exec(ctx, "drop database if exists "+quoted(name))
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) {
			continue // in use, another role's, or another sweep was faster
		}
		if err != nil {
			return fmt.Errorf("sweep %s: %w", name, err)
		}
	}
	return nil
}

func column[T any](ctx context.Context, conn *pgx.Conn, sql string) ([]T, error) {
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[T])
}
