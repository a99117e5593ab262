package pgtest

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// roleIsOurs: a role r whose name is of the form that testdbConfig makes, with the mark that it got
// then. Advisory locks are a database's, not a server's: the mark names the one in which the role's
// processes hold theirs, so that what belongs to processes with another PGTEST_URL for the same
// server is left to those.
const roleIsOurs = `(r.rolname ~ '^pgtest_[0-9a-f]{8}(_su)?$'
	and shobj_description(r.oid, 'pg_authid') = '` + roleMark + `' || current_database())`

const roleMark = "pgtest role, locks in "

// A database is this package's if its name is of the form that newName makes and its owner one of
// our roles. Whose it is the token tells: a process holds the advisory lock of its token as long as
// it lives, and with that lock in hand one knows that nobody will use the database again.
const listOurs = `
	select d.datname, coalesce(shobj_description(d.oid, 'pg_database'), ''),
		pg_stat_get_db_numbackends(d.oid) > 0
	from pg_database d join pg_authid r on r.oid = d.datdba
	where d.datname ~ '^pgtest_[0-9a-f]{8}_[0-9a-f]{16}_[0-9a-f]{10}$' and ` + roleIsOurs + `
		and not d.datistemplate
	order by d.datname`

var ourName = regexp.MustCompile(`^pgtest_([0-9a-f]{8})_([0-9a-f]{16})_[0-9a-f]{10}$`)

type leftover struct {
	name, mark string
	used       bool // somebody is connected
}

// of returns the token of the process that made the database, and the key in its name.
func (l leftover) of() (token, key string) {
	if m := ourName.FindStringSubmatch(l.name); m != nil {
		return m[1], m[2]
	}
	return "", ""
}

// adoptable reports whether it is a copy that nobody used.
func (l leftover) adoptable() bool {
	_, key := l.of()
	return l.mark == "" && key != notAdoptable
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

// orphans calls fn for each database whose process has ended and that nobody is connected to, with
// the lock of that process in hand, so that no two do the same.
func (h *host) orphans(ctx context.Context, conn *pgx.Conn, fn func(leftover) error) error {
	all, err := leftovers(ctx, conn)
	if err != nil {
		return err
	}
	held := map[string]bool{h.token: false} // a session gets its own lock again
	defer func() {
		for token, got := range held {
			if got {
				// It goes with the session at the latest.
				_, _ = conn.Exec(ctx, "select pg_advisory_unlock($1)",
					lockKey(token))
			}
		}
	}()
	for _, l := range all {
		token, _ := l.of()
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

// adopt takes over clones that other processes made ahead and did not use, at most [ahead], and
// counts the rest.
func (h *host) adopt(ctx context.Context, conn *pgx.Conn, key string) (clones []clone, err error) {
	err = h.orphans(ctx, conn, func(l leftover) error {
		if _, of := l.of(); !l.adoptable() || !strings.HasPrefix(key, of) || len(clones) == ahead {
			h.found.Add(1)
			return nil
		}
		c := clone{name: h.newName(key, true), adoptable: true}
		if _, err := conn.Exec(ctx, "alter database "+quoted(l.name)+" rename to "+quoted(c.name)); err != nil {
			return err
		}
		clones = append(clones, c)
		return nil
	})
	return clones, err
}

func missing(err error) bool { return hasCode(err, "3D000") }
func inUse(err error) bool   { return hasCode(err, "55006") }

func hasCode(err error, code string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == code
}
