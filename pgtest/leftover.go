package pgtest

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgtest/pgserver/lease"
)

// A database is this package's if its name has the form that newName gives and its owner is a role
// of ours. The token in the name says which process made it.
const listOurs = `
	select d.datname, r.rolname, coalesce(shobj_description(d.oid, 'pg_database'), ''),
		pg_stat_get_db_numbackends(d.oid) > 0
	from pg_database d join pg_roles r on r.oid = d.datdba
	where d.datname ~ '^pgtest_[0-9a-f]{8}_[0-9a-f]{16}_[0-9a-f]{10}$' and ` + isOurOwner + `
		and not d.datistemplate
	order by d.datname`

var ourName = regexp.MustCompile(`^pgtest_([0-9a-f]{8})_([0-9a-f]{16})_[0-9a-f]{10}$`)

type leftover struct {
	name, owner, comment string
	used                 bool   // a session is connected
	token, key           string // in the name
}

func leftovers(ctx context.Context, conn *pgx.Conn) ([]leftover, error) {
	rows, err := conn.Query(ctx, listOurs)
	if err != nil {
		return nil, fmt.Errorf("list databases: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (l leftover, err error) {
		err = row.Scan(&l.name, &l.owner, &l.comment, &l.used)
		if m := ourName.FindStringSubmatch(l.name); m != nil {
			l.token, l.key = m[1], m[2]
		}
		return l, err
	})
}

// orphans lists the databases whose process has ended.
func (h *host) orphans(ctx context.Context, conn *pgx.Conn) (orphans []leftover, err error) {
	all, err := leftovers(ctx, conn)
	if err != nil {
		return nil, err
	}
	living, err := lease.Living(ctx, conn, leaseSpace)
	if err != nil {
		return nil, err
	}
	for _, l := range all {
		if !living[l.token] {
			orphans = append(orphans, l)
		}
	}
	return orphans, nil
}

func missing(err error) bool { return hasCode(err, "3D000") }
func inUse(err error) bool   { return hasCode(err, "55006") }

func hasCode(err error, code string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == code
}
