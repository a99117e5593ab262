package pgtest

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A database is this package's if both its name and its owner's are of the forms that newName and testdbConfig make. Whose
// it is the token tells: a process holds the advisory lock of its token as long as it lives, and with that lock in hand
// one knows that nobody will use the database again.
const listOurs = `
	select d.datname, coalesce(shobj_description(d.oid, 'pg_database'), ''),
		exists (select from pg_stat_activity a where a.datname = d.datname)
	from pg_database d join pg_roles r on r.oid = d.datdba
	where d.datname ~ '^pgtest_[0-9a-f]{8}_[0-9a-f]{8}_[0-9a-f]{10}$' and r.rolname ~ '^pgtest_[0-9a-f]{8}(_su)?$'
		and not d.datistemplate
	order by d.datname`

var ourName = regexp.MustCompile(`^pgtest_([0-9a-f]{8})_[0-9a-f]{8}_[0-9a-f]{10}$`)

type leftover struct {
	name, mark string
	used       bool // somebody is connected
}

func (l leftover) token() string {
	if m := ourName.FindStringSubmatch(l.name); m != nil {
		return m[1]
	}
	return ""
}

func leftovers(ctx context.Context, conn *pgx.Conn) ([]leftover, error) {
	rows, err := conn.Query(ctx, listOurs)
	if err != nil {
		return nil, fmt.Errorf("list databases: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (l leftover, err error) {
		err = row.Scan(&l.name, &l.mark, &l.used)
		return l, err
	})
}

// orphans calls fn for each database whose process has ended and that nobody is connected to, with the lock of that process
// in hand, so that no two do the same.
func (h *host) orphans(ctx context.Context, conn *pgx.Conn, fn func(leftover) error) error {
	all, err := leftovers(ctx, conn)
	if err != nil {
		return err
	}
	held := map[string]bool{h.token: false} // a session gets its own lock again
	defer func() {
		for token, got := range held {
			if got {
				conn.Exec(ctx, "select pg_advisory_unlock($1)", lockKey(token)) //nolint:errcheck // it goes with the session at the latest
			}
		}
	}()
	for _, l := range all {
		token := l.token()
		if _, asked := held[token]; !asked {
			var got bool
			if err := conn.QueryRow(ctx, "select pg_try_advisory_lock($1)", lockKey(token)).Scan(&got); err != nil {
				return err
			}
			held[token] = got
		}
		if !held[token] || l.used {
			continue
		}
		// Another process may have dropped or adopted it between the list and the lock.
		if err := fn(l); err != nil && !missing(err) && !inUse(err) {
			return err
		}
	}
	return nil
}

// adopt takes over clones that other processes made ahead and did not use, at most [ahead].
func (h *host) adopt(ctx context.Context, conn *pgx.Conn, ready, key string) (names []string, err error) {
	err = h.orphans(ctx, conn, func(l leftover) error {
		if l.mark != ready || len(names) == ahead {
			return nil
		}
		name := h.newName(key)
		if _, err := conn.Exec(ctx, "alter database "+quoted(l.name)+" rename to "+quoted(name)); err != nil {
			return err
		}
		names = append(names, name)
		return nil
	})
	return names, err
}

func missing(err error) bool { return hasCode(err, "3D000") }
func inUse(err error) bool   { return hasCode(err, "55006") }

func hasCode(err error, code string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == code
}
